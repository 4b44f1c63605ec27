"""The checkpoints of a run: written behind the training, kept by rule, resumed bit by bit."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import codevault
from codevault import trainerstate
from codevault.draft import write
from codevault.errors import CaptureError, CheckpointError, MissingCheckpointError, StateDictError
from codevault.show import read_manifest

OBS = torch.ones(2, 4)


def trained(policy: Any, optimizer: Any, steps: int) -> None:
    """Steps that use every generator."""
    for _ in range(steps):
        noise = torch.randn(8, 4) + random.random() + float(np.random.rand())
        loss = policy(noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def fresh(walker: Any) -> tuple[Any, Any]:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    policy = walker.net.Walker()
    return policy, torch.optim.Adam(policy.parameters(), lr=0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Without the rehearsal's process; the paths that were rehearsed."""
    rehearsed: list[str] = []
    monkeypatch.setattr("codevault.draft.rehearse_load", lambda path, _: rehearsed.append(path))
    return rehearsed


def test_resumed_training_is_bit_equal_to_an_unbroken_run(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    policy, optimizer = fresh(walker)
    trained(policy, optimizer, 10)
    unbroken = policy.state_dict()

    policy, optimizer = fresh(walker)
    with codevault.CheckpointManager(tmp_path / "run", probe=OBS) as run:
        assert run.resume(policy, optimizer) is None
        for epoch in range(2):
            trained(policy, optimizer, 3)
            run.save(policy, optimizer, epoch, {"score": epoch}, state={"step": 3 * epoch + 3})

    policy, optimizer = fresh(walker)
    trained(policy, optimizer, 1)  # and everything else is as it happens to be
    run = codevault.CheckpointManager(tmp_path / "run", probe=OBS)
    resumed = run.resume(policy, optimizer)
    assert resumed is not None
    assert resumed.policy is policy
    assert (resumed.epoch, resumed.state, resumed.metrics) == (1, {"step": 6}, {"score": 1.0})
    trained(policy, optimizer, 4)
    for name, value in policy.state_dict().items():
        assert torch.equal(value, unbroken[name]), name

    back = run.resume(policy, optimizer, epoch=0)  # what diverged is taken up again from before
    assert back is not None
    assert (back.epoch, back.state) == (0, {"step": 3})
    trained(policy, optimizer, 7)
    for name, value in policy.state_dict().items():
        assert torch.equal(value, unbroken[name]), name
    with pytest.raises(MissingCheckpointError, match="no checkpoint of epoch 9"):
        run.resume(policy, optimizer, epoch=9)


def test_resuming_without_a_policy_loads_its_own_code(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    policy, optimizer = fresh(walker)
    with codevault.CheckpointManager(tmp_path, probe=OBS) as run:
        trained(policy, optimizer, 2)
        run.save(policy, optimizer)
        expected = policy(OBS)
        resumed = run.resume()
    assert resumed is not None
    assert type(resumed.policy).__module__.startswith("_splint_")
    assert torch.equal(resumed.policy(OBS), expected)
    again = torch.optim.Adam(resumed.policy.parameters(), lr=0.5)
    again.load_state_dict(dict(resumed.optimizer or {}))
    assert again.param_groups[0]["lr"] == 0.01


def test_the_training_goes_on_while_a_checkpoint_is_written(
    walker: Any, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved is the policy at `save`, whatever the steps after it do."""
    policy, optimizer = fresh(walker)
    may_write = threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        assert may_write.wait(60)
        return write(*args, **options)

    with codevault.CheckpointManager(tmp_path, probe=OBS) as run:
        run.save(policy, optimizer)
        monkeypatch.setattr("codevault.training.write", slow)
        trained(policy, optimizer, 1)
        expected = policy(OBS)
        path = run.save(policy, optimizer)
        trained(policy, optimizer, 3)
        assert not Path(path).exists()
        may_write.set()
    assert torch.equal(codevault.load_policy(path)(OBS), expected)
    assert not torch.equal(policy(OBS), expected)


def test_only_the_first_save_of_a_run_is_rehearsed(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    policy, optimizer = fresh(walker)
    for _ in range(2):  # a second process of the same run
        with codevault.CheckpointManager(tmp_path) as run:
            run.save(policy, optimizer)
            run.save(policy, optimizer)
    assert len(quick) == 1
    assert [c.epoch for c in run.checkpoints()] == [0, 1, 2, 3]


def test_a_first_save_that_does_not_load_is_an_error_at_once(walker: Any, tmp_path: Path) -> None:
    walker.commit(
        {
            "src/walker/broken.py": "import torch, os\nif 'CODEVAULT_CACHE' in os.environ"
            " and 'rehearsal' in os.environ['CODEVAULT_CACHE']: 1/0\n"
            "class Net(torch.nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n"
        }
    )
    policy = walker.load("walker.broken").Net()
    run = codevault.CheckpointManager(tmp_path / "run")
    with pytest.raises(CaptureError, match="does not load in a fresh process"):
        run.save(policy)
    assert run.checkpoints() == ()


def test_what_is_kept(walker: Any, tmp_path: Path, quick: list[str]) -> None:
    policy, optimizer = fresh(walker)
    scores = [5.0, 9.0, 1.0, float("nan"), 9.0, 2.0, 3.0]
    folder = tmp_path / "run"
    with codevault.CheckpointManager(folder, keep_last=2, keep_best=2) as run:
        for epoch, score in enumerate(scores):
            run.save(policy, optimizer, 10 * epoch, {"score": score})
    assert [c.epoch for c in run.checkpoints()] == [10, 40, 50, 60]
    assert run.best().epoch == 40
    names = {path.name for path in folder.iterdir()}
    assert names == {
        f"epoch-{c.epoch:08d}.{suffix}"
        for c in run.checkpoints()
        for suffix in ("mpt", f"{c.trainer[:12]}.trainer")
    }
    low = codevault.CheckpointManager(folder, mode="min")
    assert low.best().epoch == 50
    assert low.best().metrics == {"score": 2.0}


def test_what_is_not_there_is_said(walker: Any, tmp_path: Path, quick: list[str]) -> None:
    run = codevault.CheckpointManager(tmp_path / "run", probe=OBS)
    assert run.checkpoints() == ()
    for call in (run.load_latest, run.best, lambda: run.load(3)):
        with pytest.raises(MissingCheckpointError):
            call()
    run.save(walker.net.Walker(), epoch=7)
    with pytest.raises(MissingCheckpointError, match="no checkpoint of epoch 3") as caught:
        run.load(3)
    assert "7" in str(caught.value)
    assert type(run.load(7)).__name__ == type(run.load_latest()).__name__ == "Walker"
    with pytest.raises(MissingCheckpointError, match="has a 'score'"):
        run.best()
    with pytest.raises(codevault.CodevaultError, match="keep_last=0"):
        codevault.CheckpointManager(tmp_path, keep_last=0)


def test_another_policy_is_not_filled(walker: Any, tmp_path: Path, quick: list[str]) -> None:
    run = codevault.CheckpointManager(tmp_path)
    run.save(walker.net.Walker())
    with pytest.raises(StateDictError, match="do not fit this Linear"):
        run.resume(torch.nn.Linear(3, 3))


def test_trainer_state_that_cannot_be_saved_or_read(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    run = codevault.CheckpointManager(tmp_path)
    with pytest.raises(CaptureError, match="trainer's state cannot be saved"):
        run.save(walker.net.Walker(), state={"schedule": object()})
    run.save(walker.net.Walker())
    (path,) = tmp_path.glob("*.trainer")
    data = path.read_bytes()
    for damaged in (data[:40], b"", data.replace(b"format", b"formaT")):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            trainerstate.read(str(path))
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        run.resume(walker.net.Walker())


def test_of_a_damaged_newest_epoch_the_one_before_it_is_named(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    run = codevault.CheckpointManager(tmp_path)
    policy = walker.net.Walker()
    run.save(policy)
    run.save(policy)
    run.wait()
    (tmp_path / "epoch-00000001.mpt").write_bytes(b"PK")
    with pytest.raises(CheckpointError) as caught:
        run.resume(policy)
    assert caught.value.hint == "run.resume(policy, optimizer, epoch=0)"
    resumed = run.resume(policy, epoch=0)
    assert resumed is not None
    assert resumed.epoch == 0


def test_a_flipped_byte_of_a_trainers_state_is_found(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    """A flipped bit in a moment of the optimizer would change the training without a sound."""
    policy, optimizer = fresh(walker)
    trained(policy, optimizer, 1)
    run = codevault.CheckpointManager(tmp_path)
    run.save(policy, optimizer)
    (path,) = tmp_path.glob("*.trainer")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not the trainer state that was saved"):
        run.resume(policy, optimizer)


def test_resuming_an_optimizer_that_was_not_saved_is_an_error(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    policy, optimizer = fresh(walker)
    run = codevault.CheckpointManager(tmp_path)
    run.save(policy)
    with pytest.raises(CheckpointError, match="holds no optimizer") as caught:
        run.resume(policy, optimizer)
    assert caught.value.hint.startswith("run.resume(policy)")
    assert run.resume(policy) is not None


def test_a_trainer_that_dies_while_it_saves_an_epoch_again_resumes_the_one_before(
    walker: Any, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of one save never meet the optimizer of another."""
    policy, optimizer = fresh(walker)
    run = codevault.CheckpointManager(tmp_path)
    trained(policy, optimizer, 1)
    run.save(policy, optimizer, 3, state="first")
    before = [float(s["step"]) for s in optimizer.state.values()], policy(OBS)
    trained(policy, optimizer, 2)
    with monkeypatch.context() as patch:
        patch.setattr("codevault.training.write", _full)  # after the trainer's state was written
        run.save(policy, optimizer, 3, state="second")
        with pytest.raises(CheckpointError, match="no space"):
            run.wait()
    resumed = run.resume(policy, optimizer)
    assert resumed is not None
    assert resumed.state == "first"
    assert [float(s["step"]) for s in optimizer.state.values()] == before[0]
    assert torch.equal(policy(OBS), before[1])
    run.save(policy, optimizer, 3, state="third")
    run.close()
    assert len(list(tmp_path.glob("*.trainer"))) == 1
    again = run.resume(policy, optimizer)
    assert again is not None
    assert again.state == "third"


def test_an_error_of_the_writer_is_raised_by_the_next_save(
    walker: Any, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, optimizer = fresh(walker)
    run = codevault.CheckpointManager(tmp_path)
    run.save(policy, optimizer)
    with monkeypatch.context() as patch:
        patch.setattr("codevault.training.write", _full)
        run.save(policy, optimizer)
        with pytest.raises(CheckpointError, match="no space"):
            run.save(policy, optimizer)
    run.save(policy, optimizer)
    run.close()
    assert [c.epoch for c in run.checkpoints()] == [0, 1]


def test_an_error_that_nobody_waited_for_is_told(
    walker: Any,
    tmp_path: Path,
    quick: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A trainer that ends without `close` has lost its last checkpoint, and must learn it."""
    policy, optimizer = fresh(walker)
    run = codevault.CheckpointManager(tmp_path)
    run.save(policy, optimizer)
    monkeypatch.setattr("codevault.training.write", _full)
    run.save(policy, optimizer)
    run._writer._end()  # as the interpreter does when it ends
    assert "codevault: a checkpoint was not written: no space" in capsys.readouterr().err


def _full(*_: Any, **__: Any) -> None:
    raise CheckpointError("no space")


def test_a_loaded_policy_is_trained_on_and_keeps_names_and_provenance(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    policy, optimizer = fresh(walker)
    first = codevault.save_policy(tmp_path / "first.mpt", policy, probe=OBS)
    walker.refactor()
    loaded = codevault.load_policy(tmp_path / "first.mpt")
    with codevault.CheckpointManager(tmp_path / "run", probe=OBS) as run:
        optimizer = torch.optim.Adam(loaded.parameters(), lr=0.01)
        for _ in range(2):
            trained(loaded, optimizer, 2)
            path = run.save(loaded, optimizer)
    again = run.load_latest()
    assert torch.equal(again(OBS), loaded(OBS))
    manifest = codevault.provenance(again).manifest
    assert (manifest.commit, manifest.digest) == (first.commit, first.digest)
    assert b"_splint_" not in Path(path).read_bytes()


def test_what_a_trainer_prunes_meanwhile_is_not_listed_and_the_next_newest_is_loaded(
    walker: Any, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluator beside a trainer that keeps one checkpoint sees each only for a while."""
    policy, optimizer = fresh(walker)
    trainer = codevault.CheckpointManager(tmp_path, probe=OBS, keep_last=1)
    evaluator = codevault.CheckpointManager(tmp_path)
    trainer.save(policy, optimizer)

    def late(look: Any, path: str) -> Any:
        trainer.save(policy, optimizer)
        trainer.wait()
        return look(path)

    def meanwhile(name: str, look: Any) -> None:
        calls = [look, functools.partial(late, look)]
        monkeypatch.setattr(name, functools.partial(_next, calls))

    meanwhile("codevault.runfolder.read_manifest", read_manifest)
    assert evaluator.checkpoints() == ()
    assert [c.epoch for c in evaluator.checkpoints()] == [1]
    meanwhile("codevault.training.load_policy", codevault.load_policy)
    assert codevault.provenance(evaluator.load_latest()).manifest.metadata["epoch"] == 2
    monkeypatch.setattr("codevault.runfolder.read_manifest", read_manifest)
    Path(evaluator.checkpoints()[-1].path).unlink()
    with pytest.raises(MissingCheckpointError, match="has no checkpoint"):
        evaluator.load_latest()


PROGRAM = """
import sys, torch, codevault
sys.path.insert(0, sys.argv[1])
from walker.net import Walker
policy = Walker()
optimizer = torch.optim.Adam(policy.parameters())
run = codevault.CheckpointManager(sys.argv[2], probe=torch.ones(1, 4), keep_last=3)
resumed = run.resume(policy, optimizer)
epoch = resumed.epoch + 1 if resumed else 0
print("ready", flush=True)
while True:
    with torch.no_grad():
        for p in policy.parameters():
            p.fill_(float(epoch))
    run.save(policy, optimizer, epoch, {"score": epoch}, state={"epoch": epoch})
    epoch += 1
"""


def test_a_trainer_that_is_killed_leaves_whole_checkpoints_and_goes_on(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    """Killed at random moments, five times; each time the newest checkpoint is whole."""
    command = [sys.executable, "-c", PROGRAM, str(walker.top / "src"), str(tmp_path / "run")]
    choose = random.Random(0)
    run = codevault.CheckpointManager(tmp_path / "run")
    run.save(walker.net.Walker(), torch.optim.Adam(walker.net.Walker().parameters()))
    newest = 0
    for turn in range(5):
        trainer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert trainer.stdout is not None
        assert trainer.stderr is not None
        assert trainer.stdout.readline() == b"ready\n", trainer.stderr.read()
        while turn == 0 and run.checkpoints()[-1].epoch == 0:  # however busy the machine is
            time.sleep(0.05)
        time.sleep(choose.uniform(0.05, 1.0))
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.communicate()
        found = run.checkpoints()
        assert [c.metrics.get("score", 0.0) for c in found] == [float(c.epoch) for c in found]
        policy = walker.net.Walker()
        resumed = run.resume(policy)
        assert resumed is not None
        assert resumed.epoch >= newest
        newest = resumed.epoch
        if newest:
            assert resumed.state == {"epoch": newest}
            assert {p.detach().mean().item() for p in policy.parameters()} == {float(newest)}
    assert newest > 0


def test_listing_never_reads_weights(walker: Any, tmp_path: Path, quick: list[str]) -> None:
    run = codevault.CheckpointManager(tmp_path)
    path = Path(run.save(walker.net.Walker(), metrics={"score": 2}))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x00" * 64, b"\x01" * 64))  # what a look at them would find
    program = (
        "import sys, json, codevault\n"
        "from codevault.runfolder import described, epochs\n"
        "print([described(sys.argv[1], e).metrics for e in epochs(sys.argv[1])])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.strip() == str([{"score": 2.0}]), done.stderr


def _next(calls: list[Any], *args: Any, **options: Any) -> Any:
    return calls.pop()(*args, **options)


def test_a_second_trainer_in_the_folder_takes_nothing_that_is_being_saved(
    walker: Any, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a job is resumed while the one before still ends."""
    policy, optimizer = fresh(walker)
    one = codevault.CheckpointManager(tmp_path, keep_last=2, keep_best=1)
    two = codevault.CheckpointManager(tmp_path, keep_last=2, keep_best=1)
    one.save(policy, optimizer, 0, {"score": 1.0})

    def late(part: Any, path: str, *, rehearse: bool) -> Any:
        two.save(policy, optimizer, 7, {"score": 2.0}, state="two")
        two.save(policy, optimizer, 8, {"score": 3.0}, state="two")
        two.wait()
        return write(part, path, rehearse=rehearse)

    for epoch in (5, 8):  # one that the other does not know, and one that it saves as well
        with monkeypatch.context() as patch:
            calls = [write, write, late]
            patch.setattr("codevault.training.write", functools.partial(_next, calls))
            one.save(policy, optimizer, epoch, {"score": 9.0}, state="one")
            one.wait()
        resumed = one.resume(policy, optimizer, epoch=epoch)
        assert resumed is not None
        assert resumed.state == "one"


def test_a_checkpoint_that_another_process_takes_away_stops_no_training(
    walker: Any, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = walker.net.Walker()
    with codevault.CheckpointManager(tmp_path, keep_last=1, keep_best=1) as run:
        run.save(policy, metrics={"score": 1.0})
        run.save(policy, metrics={"score": 3.0})
        run.wait()
        (tmp_path / "epoch-00000001.mpt").write_bytes(b"PK")  # damaged: not the best of anything
        listed = [0, 1, 2, 9]
        monkeypatch.setattr("codevault.runfolder.epochs", lambda _: listed)  # 0 and 9 are gone
        run.save(policy, epoch=2, metrics={"score": 2.0})
        run.wait()
    assert {path.name for path in tmp_path.glob("*.mpt")} == {"epoch-00000002.mpt"}


@pytest.mark.parametrize("epoch", [-3, 1.5, "7"])
def test_a_checkpoint_that_would_not_be_found_again_is_not_saved(
    epoch: Any, walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    run = codevault.CheckpointManager(tmp_path)
    with pytest.raises(CaptureError, match="is no epoch"):
        run.save(walker.net.Walker(), epoch=epoch)
    run.save(walker.net.Walker(), epoch=np.int64(4))  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.glob("*.mpt")] == ["epoch-00000004.mpt"]


def test_what_save_cannot_use_is_named(walker: Any, tmp_path: Path, quick: list[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file/run cannot be made"):
        codevault.CheckpointManager(tmp_path / "file" / "run").save(walker.net.Walker())
    metrics: Any = {"loss": "low"}
    with pytest.raises(CaptureError, match=r"metrics\['loss'\] is no number, but a str"):
        codevault.CheckpointManager(tmp_path).save(walker.net.Walker(), metrics=metrics)


def test_a_closed_run_can_go_on(walker: Any, tmp_path: Path, quick: list[str]) -> None:
    run = codevault.CheckpointManager(tmp_path)
    for _ in range(2):
        run.save(walker.net.Walker())
        run.save(walker.net.Walker())
        run.close()
    assert [c.epoch for c in run.checkpoints()] == [0, 1, 2, 3]


def test_what_a_killed_trainer_left_half_written_is_removed_later(
    walker: Any, tmp_path: Path, quick: list[str]
) -> None:
    """Each may have the size of a checkpoint; one that is being written is left alone."""
    half = [f".codevault-{'0' * 16}.tmp", "epoch-00000000.mpt.17-0badcafe.rehearsal"]
    kept = [f".codevault-{'1' * 16}.tmp", "notes.tmp"]
    for name in (*half, *kept):
        (tmp_path / name).write_bytes(b"PK")
    for name in (*half, "notes.tmp"):
        os.utime(tmp_path / name, (0, 0))
    codevault.CheckpointManager(tmp_path).save(walker.net.Walker())
    left = {path.name for path in tmp_path.iterdir()}
    assert left & {*half, *kept} == set(kept)
