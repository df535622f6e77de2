"""Callbacks for any training: checkpoints by epoch, random state, requeue, W&B, progress."""
