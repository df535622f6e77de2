"""Errors of commands: a few lines, and everything with --debug."""

import importlib
import os

import pytest

from dejavu_lightning.cli import main
from dejavu_lightning.cli.errors import DEBUG, explain, explain_usage, plain_errors
from dejavu_lightning.data import Scenes


def raised(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("wandb", 'pip install "dejavu-lightning[wandb]"'),
        ("submitit", 'pip install "dejavu-lightning[cluster]"'),
        ("transformers", 'pip install "dejavu-lightning[annotate]"'),
        ("sentence_transformers", 'pip install "dejavu-lightning[text]"'),
        ("open_clip", "pip install open_clip_torch"),
        ("kornia", "pip install kornia"),
    ],
)
def test_a_missing_package_and_how_to_install_it(module, remedy):
    told = explain(ModuleNotFoundError(f"No module named '{module}.sub'", name=f"{module}.sub"))
    assert told.splitlines()[-1] == f"  {module} is not installed: {remedy}"


def test_what_lightning_says_of_a_missing_logger():
    inner = ModuleNotFoundError("Requirement 'wandb>=0.12.10' not met. HINT: Try running `pip install -U 'wandb'`")
    outer = ValueError(
        "Does not validate\n  - Problem with given class_path 'a.WandbLogger':\n  Given value: Namespace(x)"
    )
    outer.__cause__ = inner
    told = explain(outer)
    assert told.startswith("a.WandbLogger: Requirement 'wandb")
    assert told.endswith('wandb is not installed: pip install "dejavu-lightning[wandb]"')
    assert "Namespace" not in told


def test_a_missing_attribute_of_an_installed_module_is_not_called_missing():
    error = raised(lambda: exec("from json import nothing"))
    assert "pip install" not in explain(error)


def test_what_this_package_raises_is_told_as_it_is():
    error = raised(lambda: Scenes(-1))
    assert explain(error) == str(error)
    outer = ValueError("Given value: Namespace(...)")
    outer.__cause__ = error
    assert explain(outer) == str(error)


def test_what_others_raise_is_told_with_its_place_and_shortened():
    error = raised(lambda: importlib.import_module("json").loads("{"))
    assert explain(error).startswith("JSONDecodeError: Expecting property name")
    assert "; --debug shows the traceback)" in explain(error)
    long = RuntimeError("\n".join(f"line {n}" for n in range(50)))
    assert len(explain(long).splitlines()) == 10


def test_debug_shows_all(monkeypatch, config, tmp_path):
    def fails():
        with plain_errors():
            raise RuntimeError("inside")

    with pytest.raises(SystemExit, match="error: RuntimeError: inside"):
        fails()
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(RuntimeError, match="inside"):
        fails()
    monkeypatch.delenv(DEBUG)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    words = [
        "fit",
        "--config",
        str(config),
        "--ckpt_path",
        "/nowhere",
        "--trainer.default_root_dir",
        str(tmp_path / "r"),
    ]
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        main([*words, "--debug"])


def test_usage_errors_without_the_types_that_were_tried():
    told = explain_usage(
        """Parser key "data":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'LightningDataModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'dejavu_lightning.data.ImageDataModule':
        Parser key "views":
          Does not validate against any of the Union subtypes
          Errors:
            - Problem with given class_path 'dejavu_lightning.data.RandomViews':
                Parser key "image_size":
                  Expected a <class 'int'>. Got value: x
            - Expected a <class 'NoneType'>
          Given value: NestedArg(key='image_size', val='x')
    - Expected a <class 'NoneType'>
  Given value type: <class 'jsonargparse._util.NestedArg'>
  Given value: NestedArg(key='views.image_size', val='x')""",
        [],
    )
    assert told == "--data.views.image_size: expected int, got x"
    assert explain_usage("unrecognized arguments: --trainer.precison 3", ["--trainer.precision", "--model"]) == (
        "there is no option --trainer.precison; did you mean --trainer.precision?"
    )
    assert explain_usage("something else\nand more", []) == "something else\n  and more"


def test_an_argument_of_a_class_that_the_parser_does_not_name():
    told = explain_usage("Parser key \"data\":\n  - Option 'batch_sze' is not accepted", [])
    assert told == "--data: there is no argument 'batch_sze'; did you mean batch_size?"
