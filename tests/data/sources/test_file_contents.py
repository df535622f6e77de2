import numpy as np

from dejavu_lightning.data.sources import file_contents as module
from dejavu_lightning.data.sources.file_contents import BLOCK, file_contents


def write(folder, contents):
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.bin")
        if content is not None:
            paths[-1].write_bytes(content)
    return paths


def test_files_of_the_same_bytes_are_found_by_all_of_them(tmp_path):
    long = np.random.default_rng(0).bytes(3 * BLOCK)
    head, middle, end = (bytearray(long) for _ in range(3))
    head[0] ^= 1
    middle[len(long) // 2] ^= 1
    end[-1] ^= 1
    contents = [
        long,
        b"short",
        bytes(head),
        bytes(end),
        long,
        bytes(middle),
        b"",
        b"short",
        None,
        long + b"x",
        b"trohs",
    ]
    found = file_contents(write(tmp_path, [*contents, long, b"", None]))
    assert found.sizes.tolist() == [12288, 5, 12288, 12288, 12288, 12288, 0, 5, -1, 12289, 5, 12288, 0, -1]
    # 4 and 11 are 0, 7 is 1, 12 is 6; those that differ in one byte, or are missing, are like no other.
    assert found.same_as.tolist() == [0, 1, 2, 3, 0, 5, 6, 1, 8, 9, 10, 0, 6, 13]
    assert found.duplicates == 4
    assert file_contents([]).same_as.tolist() == []


def test_no_file_of_a_size_of_its_own_is_opened(tmp_path, monkeypatch):
    paths = write(tmp_path, [b"x" * size for size in range(5)])
    monkeypatch.setattr(module, "_middle", None)
    assert file_contents(paths).same_as.tolist() == [0, 1, 2, 3, 4]


def test_many_files_against_a_plain_loop(tmp_path):
    generator = np.random.default_rng(1)
    contents = [bytes(generator.integers(0, 2, int(size)).astype(np.uint8)) for size in generator.integers(0, 5, 700)]
    first: dict[bytes, int] = {}
    expected = [first.setdefault(content, number) for number, content in enumerate(contents)]
    assert file_contents(write(tmp_path, contents)).same_as.tolist() == expected
