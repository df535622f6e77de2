"""A callback for the Hugging Face Trainer: measures after every epoch and logs with the Trainer's own numbers."""

from transformers import TrainerCallback

from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets, ModuleEncoder, measure


class MeasureMemorization(TrainerCallback):
    def __init__(self, sets: MemorizationSets, encode) -> None:
        self.sets, self.encode, self.history = sets, encode, []

    def on_epoch_end(self, args, state, control, model=None, **more):
        found = measure(ModuleEncoder(model, self.encode), LabelInference(k=20), HeldOut(), self.sets)
        self.history.append(found.metrics)
        state.log_history.append({"epoch": state.epoch, "memorization/score": found.metrics["score"]})
