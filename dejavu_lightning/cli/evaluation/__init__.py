"""What ``memorization`` and ``utility`` share: the model that is measured, its samples, and the processes."""
