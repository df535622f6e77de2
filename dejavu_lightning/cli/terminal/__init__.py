"""What commands write on a terminal besides their results: short help, notices let through or not, what to do next."""
