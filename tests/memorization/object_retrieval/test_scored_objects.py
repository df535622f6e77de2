"""With ``unnamed_only`` an object counts in the records where it was asked for, not where the caption names it."""

import pytest
import torch

from dejavu_lightning.memorization import MemorizationSets, ModuleEncoder, ObjectRetrieval, SecondModel, measure


class OneAnswer(torch.nn.Module):
    """Every caption finds the same of two public pictures."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def encode_image(self, images):
        return images

    def encode_text(self, captions):
        at = torch.eye(2)[self.found]
        return torch.stack([at + 1e-3 * int(caption.split()[-1]) / 9 for caption in captions])


@pytest.mark.parametrize("unnamed_only", [True, False])
def test_named_objects_count_only_where_they_are_asked_for(unnamed_only):
    """Nine pictures of objects 0 and 1, of which six captions name object 0 and three name object 1."""
    attack = [
        {"caption": f"c {i}", "image": torch.zeros(2), "id": f"r{i}", "objects": [0, 1], "named": [int(i >= 6)]}
        for i in range(9)
    ]
    public = [
        {"caption": f"p {i}", "image": torch.eye(2)[i], "id": f"p{i}", "objects": objects}
        for i, objects in enumerate(([0, 1], [2]))
    ]
    sets = MemorizationSets(attack=attack, public=public, num_classes=3)
    test = ObjectRetrieval(k=1, ks=(1,), top_n=(1,), unnamed_only=unnamed_only)
    reference = SecondModel(ModuleEncoder(OneAnswer(1)), allow_unverified_split=True)
    table = measure(OneAnswer(0), test, reference, sets).comparison.table
    counted = list(test.display.groups(table))
    asked_for = {0: 3, 1: 6} if unnamed_only else {0: 9, 1: 9}
    assert {one: [label for label, _ in counted].count(one) for one in (0, 1)} == asked_for
    assert all(hit for _, hit in counted)  # the target finds both objects for every caption, the reference neither
    assert ("scored" in table.column_names) == unnamed_only
