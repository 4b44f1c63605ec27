"""Calls of old names as code bases made them: they work over today's functions, and warn once."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault import compat
from codevault.compat import (
    MockAgent,
    MockPolicy,
    MockPolicyRecord,
    PolicyMetadata,
    PolicyMissingError,
    PolicyRecord,
    PolicyStore,
    SimpleCheckpointManager,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings(
    "ignore:codevault.compat:DeprecationWarning", "ignore::codevault.ProbeWarning"
)
FACTS: dict[str, Any] = {"action_names": ["move", "turn"], "agent_step": 100, "epoch": 5}

USES: dict[str, tuple[Callable[[Path], object], str]] = {
    "PolicyStore": (lambda _: PolicyStore(), "codevault.load_policy"),
    "PolicyStore.create": (
        lambda path: PolicyStore.create("cpu", str(path), SimpleNamespace(enabled=False)),
        "codevault.load_policy",
    ),
    "PolicyRecord": (
        lambda _: PolicyRecord(None, "run", "file://x.pt", {"epoch": 1}),
        "codevault.load_policy",
    ),
    "PolicyMetadata": (lambda _: PolicyMetadata(epoch=1), "metadata="),
    "PolicyMetadata.from_dict": (
        lambda _: PolicyMetadata.from_dict(
            {"agent_step": 1, "epoch": 1, "generation": 0, "train_time": 0.0}
        ),
        "metadata=",
    ),
    "SimpleCheckpointManager": (
        lambda path: SimpleCheckpointManager(str(path), "run"),
        "codevault.CheckpointManager",
    ),
    "MockAgent": (lambda _: MockAgent(), "your tests' own"),
    "MockPolicy": (lambda _: MockPolicy(), "your tests' own"),
    "MockPolicyRecord": (lambda _: MockPolicyRecord(), "your tests' own"),
    "MockPolicyRecord.from_key_and_version": (
        lambda _: MockPolicyRecord.from_key_and_version("key", 3),
        "your tests' own",
    ),
}


@pytest.mark.parametrize("name", USES)
def test_each_name_warns_once_and_names_what_replaces_it(name: str, tmp_path: Path) -> None:
    use, instead = USES[name]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        use(tmp_path)
    assert [w.category for w in found] == [DeprecationWarning]
    assert instead in str(found[0].message)
    assert name.partition(".")[0] in str(found[0].message)
    assert found[0].filename == __file__


def test_importing_the_names_warns_of_nothing() -> None:
    program = "import codevault.compat as c; [getattr(c, n) for n in c.__all__]"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
    assert {"PolicyStore", "MockAgent"} <= set(compat.__all__)


# -- records and their facts ------------------------------------------------------------------


def test_records_are_made_by_position_and_by_keyword() -> None:
    store = PolicyStore(
        device="cpu", data_dir="./train_dir", wandb_entity="e", wandb_project="p", pytorch_cfg=None
    )
    metadata = PolicyMetadata(epoch=1, agent_step=100, generation=0, train_time=0.5)
    one = PolicyRecord(None, "test_run", "file://test.pt", metadata)
    two = PolicyRecord(policy_store=store, run_name="run", uri=None, metadata=metadata)
    assert one.file_path == "test.pt"
    assert one.metadata is two.metadata is metadata
    assert PolicyRecord(uri="mock://x").uri == "mock://x"
    with pytest.raises(ValueError, match="without a valid URI"):
        _ = two.file_path
    with pytest.raises(ValueError, match="without a valid URI"):
        _ = two.policy
    with pytest.raises(ValueError, match="without a PolicyStore"):
        _ = one.policy
    with pytest.raises(ValueError, match="only applies to file://"):
        _ = PolicyRecord(uri="wandb://a/b/c").file_path
    with pytest.raises(TypeError, match="must be PolicyMetadata or dict, got int"):
        one.metadata = 3
    one.policy = MockPolicy()
    assert one.num_params() == sum(p.numel() for p in one.policy.parameters())
    assert repr(one).startswith("PolicyRecord(name=test_run, uri=file://test.pt)")


def test_records_of_older_versions_kept_their_facts_elsewhere() -> None:
    record = PolicyRecord.__new__(PolicyRecord)
    with pytest.raises(AttributeError, match="No metadata found"):
        _ = record.metadata
    record.__dict__["checkpoint"] = dict(FACTS)
    assert isinstance(record.metadata, PolicyMetadata)
    assert record.metadata["action_names"] == ["move", "turn"]


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("wandb://entity/project/name", ("entity", "project", "name", None)),
        ("wandb://entity/project/name:v3", ("entity", "project", "name", "v3")),
    ],
)
def test_records_take_wandb_addresses_apart(uri: str, parts: tuple[str, ...]) -> None:
    assert PolicyRecord(None, "run", uri, {}).extract_wandb_run_info() == parts
    for wrong in ("wandb://entity/name", "file://x"):
        with pytest.raises(ValueError, match="wandb"):
            PolicyRecord(None, "run", wrong, {}).extract_wandb_run_info()


def test_metadata_is_a_dict_with_attributes() -> None:
    metadata = PolicyMetadata(1, 2, 3, 4.5, score=0.5)
    assert (metadata.agent_step, metadata.epoch, metadata.generation) == (1, 2, 3)
    assert metadata["train_time"] == 4.5
    metadata.extra = [1]
    assert metadata["extra"] == [1]
    del metadata.extra
    assert metadata.pop("score") == 0.5
    assert metadata.pop("score", None) is None
    for take in (
        lambda: metadata.pop("epoch"),
        lambda: metadata.__delitem__("epoch"),
        lambda: metadata.pop("nothing"),
    ):
        with pytest.raises(KeyError):
            take()
    for name in ("epoch", "nothing"):
        with pytest.raises(AttributeError):
            delattr(metadata, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = metadata.nothing
    with pytest.raises(ValueError, match="Missing required fields: agent_step, generation"):
        PolicyMetadata.from_dict({"epoch": 1, "train_time": 0.0})
    assert repr(metadata) == "PolicyMetadata(agent_step=1, epoch=2, generation=3, train_time=4.5)"


# -- the store --------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [FACTS, "PolicyMetadata"], ids=["dict", "metadata"])
def test_a_policy_is_saved_and_loaded_again(facts: Any, walker: Any, tmp_path: Path) -> None:
    store = PolicyStore(data_dir=str(tmp_path))
    path = tmp_path / "checkpoints/model_0005.pt"
    record = PolicyRecord(store, path.name, f"file://{path}", PolicyMetadata())
    record.metadata = PolicyMetadata(**FACTS) if facts == "PolicyMetadata" else facts
    record.policy = policy = walker.net.Walker()
    obs = torch.ones(1, 4)
    assert store.save(record) is record
    walker.refactor()
    loaded = store.load_from_uri(f"file://{path}")
    assert torch.equal(loaded.policy(obs), policy(obs))
    assert torch.equal(record.policy(obs), policy(obs))
    assert loaded.metadata == {**FACTS, "generation": 0, "train_time": 0.0}
    assert loaded.run_name == "model_0005.pt"
    again = store.save(loaded, str(tmp_path / "other.mpt"))
    assert again.uri == f"file://{tmp_path / 'other.mpt'}"


@pytest.fixture
def run(walker: Any, tmp_path: Path) -> tuple[PolicyStore, str]:
    store, folder = PolicyStore(), tmp_path / "run"
    for epoch, score in ((1, 0.3), (2, 0.9), (10, 0.5)):
        facts = PolicyMetadata(epoch=epoch, eval_scores={"navigation": score})
        record = PolicyRecord(store, f"run:{epoch}", None, facts)
        record.policy = walker.net.Walker()
        store.save(record, str(folder / f"model_{epoch:04d}.mpt"))
    return store, str(folder)


def test_records_are_selected(run: tuple[PolicyStore, str]) -> None:
    store, folder = run
    everything = store.policy_records(folder, "all")
    assert [r.metadata.epoch for r in everything] == [10, 2, 1]
    assert store.policy_record(f"file://{folder}", "latest").run_name == "run:10"
    best = store.policy_records(folder, selector_type="top", n=2, metric="navigation_score")
    assert [r.metadata.epoch for r in best] == [2, 10]
    assert store.policy_record(SimpleNamespace(uri=folder), metric="reward").metadata.epoch == 10
    assert store.policy_record(folder, "rand").metadata.epoch in (1, 2, 10)
    with pytest.raises(ValueError, match="Invalid selector type: best"):
        store.policy_records(folder, "best")  # type: ignore[arg-type]
    Path(folder, "empty").mkdir()
    with pytest.raises(PolicyMissingError, match="No policy records found"):
        store.policy_record(f"{folder}/empty")


def test_a_record_or_a_mock(run: tuple[PolicyStore, str]) -> None:
    store, folder = run
    assert store.policy_record_or_mock(folder, "run").metadata.epoch == 10
    best, last = (store.policy_record_or_mock(folder, selector_type=s) for s in ("top", "latest"))
    assert (best.uri, last.uri) == (
        store.policy_record(folder).uri,
        store.policy_record(folder, "latest").uri,
    )
    mock = store.policy_record_or_mock(None)
    assert isinstance(mock, MockPolicyRecord)
    assert mock.run_name == "mock_run"
    assert isinstance(mock.policy, MockAgent)


def test_what_cannot_be_read_is_said(run: tuple[PolicyStore, str], tmp_path: Path) -> None:
    store, _ = run
    with pytest.raises(codevault.CodevaultError, match="wandb:// is neither"):
        store.load_from_uri("wandb://entity/project/name")
    torch.save(MockPolicy(), tmp_path / "old.pt")
    with pytest.raises(codevault.CodevaultError, match="codevault convert"):
        store.load_from_uri(str(tmp_path / "old.pt"))


def test_records_are_uploaded(
    run: tuple[PolicyStore, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Artifact:
        def __init__(self, name: str, type: str, metadata: dict[str, Any]) -> None:
            self.qualified_name, self.type, self.metadata = f"e/p/{name}:v0", type, metadata
            self.files: list[tuple[str, str | None]] = []

        def add_file(self, path: str, name: str | None = None) -> None:
            self.files.append((path, name))

        def save(self) -> None: ...

        def wait(self) -> None: ...

    wandb: Any = ModuleType("wandb")
    wandb.Artifact = Artifact
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    logged: list[Any] = []
    store = PolicyStore(wandb_run=SimpleNamespace(log_artifact=logged.append))
    record = run[0].policy_record(run[1], "latest")
    assert store.add_to_wandb_run("run", record, ["notes.txt"]) == "e/p/run:v0"
    assert store.add_to_wandb_sweep("sweep", record) == "e/p/sweep:v0"
    assert [artifact.type for artifact in logged] == ["model", "sweep_model"]
    assert logged[0].files == [(record.file_path, "model.mpt"), ("notes.txt", None)]
    with pytest.raises(ValueError, match="not initialized with a wandb run"):
        PolicyStore().add_to_wandb_run("run", record)


# -- the checkpoint manager -----------------------------------------------------------------------


def test_the_old_checkpoint_manager(walker: Any, tmp_path: Path) -> None:
    manager = SimpleCheckpointManager(run_dir=str(tmp_path / "run"), run_name="bc")
    assert manager.load_agent() is None
    assert manager.load_trainer_state() is None
    assert manager.find_best_checkpoint() is None
    policy = walker.net.Walker()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.5)
    for epoch, score in ((1, 0.2), (2, 0.8), (10, 0.5)):
        path = manager.save_agent(policy, epoch, {"score": score})
        assert path == f"{tmp_path}/run/checkpoints/model_{epoch:04d}.mpt"
    manager.save_trainer_state(optimizer, epoch=10, agent_step=1000)
    walker.refactor()
    obs = torch.ones(1, 4)
    agent = manager.load_agent()
    assert torch.equal(agent(obs), policy(obs))
    state = manager.load_trainer_state()
    assert state is not None
    assert (state["epoch"], state["agent_step"]) == (10, 1000)
    assert state["optimizer_state"]["param_groups"][0]["lr"] == 0.5
    assert manager.get_checkpoint_count() == 3
    assert [c["metadata"]["epoch"] for c in manager.list_all_checkpoints()] == [1, 2, 10]
    assert manager.list_all_checkpoints()[0]["metadata"]["run"] == "bc"
    assert Path(manager.find_best_checkpoint() or "").name == "model_0002.mpt"
    found = manager.find_checkpoints_by_score(0.5, metric="score")
    assert [Path(p).name for p in found] == ["model_0002.mpt", "model_0010.mpt"]
    manager.cleanup_old_checkpoints(keep_last_n=2)
    assert manager.get_checkpoint_count() == 2
    Path(path).write_bytes(Path(path).read_bytes()[:-100])
    with pytest.raises(codevault.CodevaultError):
        manager.load_agent()


# -- mocks ------------------------------------------------------------------------------------


def test_mock_agent_with_the_older_environment() -> None:
    agent = MockAgent()
    features = {"type_id": {"id": 0, "normalization": 1.0}, "hp": {"id": 5}}
    agent.initialize_to_environment(features, ["noop"], [0], "cpu", is_training=True)
    assert agent.get_original_feature_mapping() == {"type_id": 0, "hp": 5}
    agent.initialize_to_environment(
        {"type_id": {"id": 2}, "hp": {"id": 5}, "new": {"id": 9}}, ["noop"], [0], "cpu", False
    )
    assert agent.feature_id_remap == {2: 0, 9: 255}
    agent.initialize_to_environment(
        features={"more": {"id": 7}},
        action_names=["noop", "move"],
        action_max_params=[0, 1],
        device="cpu",
        is_training=True,
    )
    assert agent.get_original_feature_mapping() == {"type_id": 0, "hp": 5, "more": 7}
    assert agent.action_names == ["noop", "move"]
    out = agent({"env_obs": torch.zeros(3, 4)})
    assert out["actions"].tolist() == [[0, 0]] * 3


def test_mock_agent_with_the_newer_environment() -> None:
    from tensordict import TensorDict

    feature = SimpleNamespace(id=1, name="hp", normalization=10.0)
    actions = SimpleNamespace(actions=lambda: [SimpleNamespace(name="noop")])
    env = SimpleNamespace(obs_features=[feature], actions=actions)
    agent = MockAgent(env)
    agent.initialize_to_environment(env, torch.device("cpu"), is_training=False)
    agent.initialize_to_environment(policy_env_info=env, device="cpu")
    assert agent.action_names == ["noop"]
    assert agent.feature_normalizations == {1: 10.0}
    assert agent.device == torch.device("cpu")
    assert not agent.training
    td = agent(TensorDict({"env_obs": torch.zeros(2, 4)}, batch_size=[2]))
    assert td["actions"].tolist() == [0, 0]
    assert agent(TensorDict({}, batch_size=[4]))["actions"].shape == (4,)
    agent.reset_memory()
    assert agent.get_memory() == {}
    assert agent.total_params == 0


def test_mock_agent_hands_the_mapping_to_its_components() -> None:
    class Component(torch.nn.Module):
        def update_feature_remapping(self, table: torch.Tensor) -> None:
            self.table = table

    agent = MockAgent().eval()
    component = Component()
    agent.components["_obs_"] = component
    agent.initialize_to_environment({"a": {"id": 1}, "b": {"id": 2}}, [], [], "cpu")
    agent.initialize_to_environment({"a": {"id": 3}}, [], [], "cpu")
    assert component.table[[1, 2, 3, 4]].tolist() == [255, 255, 1, 4]


def test_mock_records() -> None:
    record = MockPolicyRecord.from_key_and_version("test_policy", 1)
    assert (record.uri, record.run_name, record.metadata.epoch) == ("test_policy", "test_run", 1)
    last = MockPolicyRecord.from_key_and_version(key="test_policy", version=2)
    assert (last.uri, last.metadata.epoch) == ("test_policy", 2)
    assert record.policy(torch.zeros(2, 10)).shape == (2, 10)
    assert {"_core_", "_value_", "_action_"} <= set(record.policy.components)
    assert MockPolicyRecord(uri="mock://test", epoch=3, score=0.5).metadata.score == 0.5
    assert MockPolicyRecord().uri == "mock://policy"
