"""[audit] What `load_policy` and `Splint.import_module` report of old code."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import AuditWarning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANGING = """
    import os, torch
    os.environ["WALKER"] = "1"
    torch.manual_seed(7)
    torch.set_grad_enabled(False)

    class Walker(torch.nn.Linear):
        def __init__(self):
            super().__init__(4, 2)
"""


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    torch.set_grad_enabled(True)
    os.environ.pop("WALKER", None)


def saved(project: Any, tmp_path: Path, text: str) -> str:
    project.commit({"src/walker/__init__.py": "", "src/walker/net.py": text})
    policy = project.load("walker.net").Walker()
    path = str(tmp_path / "best.mpt")
    codevault.save_policy(path, policy, probe=torch.ones(1, 4))
    torch.set_grad_enabled(True)
    torch.set_default_device(None)
    os.environ.pop("WALKER", None)
    return path


def test_audit_of_a_load_warns_and_stays_with_the_policy(project: Any, tmp_path: Path) -> None:
    path = saved(project, tmp_path, CHANGING)
    torch.manual_seed(3)
    with pytest.warns(AuditWarning, match="torch gradients: True -> False") as caught:
        policy = codevault.load_policy(path)
    assert [warning.filename for warning in caught] == [__file__]
    assert torch.initial_seed() == 3
    provenance = codevault.provenance(policy)
    assert provenance.audit is not None
    assert [str(finding) for finding in provenance.audit.findings] == [
        "torch gradients: True -> False",
        "torch's random numbers: seed 3 -> seed 7 (put back)",
        "environment variables: WALKER not set -> WALKER set",
    ]
    assert provenance.splint is not None
    assert provenance.splint.audit == provenance.audit
    assert provenance.audit.restore() == ()
    assert torch.is_grad_enabled()
    assert "WALKER" not in os.environ
    again = codevault.provenance(codevault.load_policy(path))
    assert again.audit == provenance.audit, "the code is the same, and runs only once"
    provenance.splint.unload()
    assert not provenance.splint.audit


def test_audit_as_strict_mode_refuses(project: Any, tmp_path: Path) -> None:
    path = saved(project, tmp_path, CHANGING)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AuditWarning)
        with pytest.raises(AuditWarning, match="torch gradients"):
            codevault.load_policy(path)


def test_audit_of_a_load_leaves_meta_before_weights_are_assigned(
    project: Any, tmp_path: Path
) -> None:
    text = CHANGING.replace("torch.set_grad_enabled(False)", "").replace(
        "super().__init__(4, 2)", "super().__init__(4, 2); torch.set_default_device('meta')"
    )
    path = saved(
        project, tmp_path, text.replace("'meta'", "DEVICE").rstrip() + "\n    DEVICE = None\n"
    )
    old = codevault.provenance(codevault.load_policy(path)).splint
    assert old is not None
    old.import_module("walker.net").DEVICE = "meta"  # type: ignore[attr-defined]
    policy = codevault.load_policy(path)
    assert torch.zeros(1).device.type == "cpu"
    found = codevault.provenance(policy).audit
    assert found is not None
    assert "torch default device: None -> meta (put back)" in map(str, found.findings)
    old.unload()


def test_audit_of_a_clean_policy_says_nothing(walker: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "best.mpt")
    codevault.save_policy(path, walker.net.Walker(), probe=torch.ones(1, 4))
    provenance = codevault.provenance(codevault.load_policy(path))
    assert provenance.audit is not None
    assert not provenance.audit
    assert codevault.provenance(codevault.load_policy(path, code="current")).audit is None


def test_audit_of_an_import_warns_where_it_is_asked_for(project: Any) -> None:
    commit = project.commit({"src/walker/__init__.py": "", "src/walker/net.py": CHANGING})
    splint = codevault.load_code(project.top, commit)
    assert not splint.audit
    with pytest.warns(AuditWarning, match="seed .* -> seed 7") as caught:
        splint.import_module("walker.net")
    assert [warning.filename for warning in caught] == [__file__]
    assert len(splint.audit.findings) == 3
    assert splint.audit.restore() == ()
    splint.import_module("walker.net")
    splint.unload()


def test_audit_waits_for_a_probe_of_another_thread(walker: Any) -> None:
    """A replay chooses full precision for the whole process, for as long as it runs."""
    import threading

    from codevault.precision import full_precision

    place: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = place.fp32_precision
    inside, leave = threading.Event(), threading.Event()

    def replay() -> None:
        with full_precision():
            inside.set()
            leave.wait(60)

    others = [threading.Thread(target=replay) for _ in range(2)]
    for other in others:
        other.start()
    assert inside.wait(60)
    threading.Timer(0.2, leave.set).start()
    splint = codevault.load_code(walker.top, walker.head)
    splint.import_module("walker.net")
    for other in others:
        other.join()
    assert not splint.audit
    assert place.fp32_precision == before
