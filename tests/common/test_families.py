"""How families are written."""

import pytest
from pydantic import TypeAdapter, ValidationError

from lopsided.common.families import Families, FamilyError, checked, joined, plain

DECLARED = TypeAdapter(Families)


@pytest.mark.parametrize(
    "bare", ["vgg16", "net:vgg", "backbone:", "form:a;form:b", "Form:ssim", "form:SSIM", "data: x"]
)
def test_families_without_one_of_the_prefixes_are_refused(bare):
    for refuse in (lambda: checked(bare), lambda: DECLARED.validate_python([bare])):
        with pytest.raises((FamilyError, ValidationError), match="write backbone:…, form:… or data:…"):
            refuse()


def test_declared_families_are_in_one_order():
    one, other = ["form:b", "backbone:a"], ["backbone:a", "form:b"]
    assert DECLARED.validate_python(one) == DECLARED.validate_python(other)
    assert joined(one) == joined(other) == "backbone:a;form:b"


def test_any_name_becomes_a_word():
    for name in ("Qwen/Qwen3-VL 8B;x", "…", "my set"):
        checked(f"backbone:{plain(name)}")
