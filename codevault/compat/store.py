"""`PolicyStore`: finds, loads and saves records of policies."""

from __future__ import annotations

import os
import random
import re
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from codevault.compat.deprecation import deprecated, inside
from codevault.compat.records import PolicyRecord
from codevault.errors import CodevaultError
from codevault.load import load_policy
from codevault.save import save_policy
from codevault.show import read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

PolicySelectorType = Literal["all", "top", "latest", "rand"]
_INSTEAD: Final = "codevault.load_policy(uri), codevault.save_policy(path, policy)"


class PolicyMissingError(ValueError):
    """There is no policy at an address."""


class PolicyStore:
    """Finds, loads and saves records of policies in local files.

    `wandb_entity`, `wandb_project`, `pytorch_cfg` and `policy_cache_size` are taken and not used.
    """

    def __init__(
        self,
        device: str | None = None,
        wandb_run: Any = None,
        data_dir: str | None = None,
        wandb_entity: str | None = None,
        wandb_project: str | None = None,
        pytorch_cfg: Any = None,
        policy_cache_size: int = 10,
    ) -> None:
        deprecated("PolicyStore", _INSTEAD)
        self._device = device or "cpu"
        self._data_dir = data_dir or "./train_dir"
        self._wandb_run = wandb_run

    @classmethod
    def create(cls, device: str, data_dir: str, wandb_config: Any, wandb_run: Any = None) -> Self:
        """A store; what `wandb_config` says is not used."""
        deprecated("PolicyStore.create", _INSTEAD)
        with inside():
            return cls(device=device, wandb_run=wandb_run, data_dir=data_dir)

    def policy_record(
        self,
        uri_or_config: Any,
        selector_type: PolicySelectorType = "top",
        metric: str = "score",
        stats_client: Any = None,
        eval_name: str | None = None,
    ) -> PolicyRecord:
        """The one record that `policy_records` selects."""
        return self.policy_records(
            uri_or_config, selector_type, 1, metric, stats_client, eval_name
        )[0]

    def policy_records(
        self,
        uri_or_config: Any,
        selector_type: PolicySelectorType = "top",
        n: int = 1,
        metric: str = "score",
        stats_client: Any = None,
        eval_name: str | None = None,
    ) -> list[PolicyRecord]:
        """Records of the checkpoints at an address, the newest first.

        Args:
            uri_or_config: A file, a folder of a run, a `file://` address, or what has it as `uri`.
            selector_type: "all", "latest", "rand", or the `n` "top" ones by `metric`; without
                enough of these metrics, the latest.
            n: How many, for "top".
            metric: A key of the metadata or of its `eval_scores`.
            stats_client: Not used.
            eval_name: Not used.

        Raises:
            PolicyMissingError: There is none.
            ValueError: There is no such selector.
            CodevaultError: A file is no checkpoint; the message has the line that converts it.
        """
        uri = uri_or_config if isinstance(uri_or_config, str) else uri_or_config.uri
        records = [self._described(path) for path in _files(_path(uri))]
        if not records:
            raise PolicyMissingError(f"No policy records found at {uri}")
        if selector_type == "all":
            return records
        if selector_type == "latest":
            return records[:1]
        if selector_type == "rand":
            return [random.choice(records)]  # noqa: S311
        if selector_type == "top":
            return _top(records, n, metric)
        raise ValueError(f"Invalid selector type: {selector_type}")

    def policy_record_or_mock(
        self,
        policy_uri: str | None,
        run_name: str = "mock_run",
        selector_type: PolicySelectorType = "top",
    ) -> PolicyRecord:
        """The record at an address, or a mock where there is no address."""
        if policy_uri is not None:
            return self.policy_record(policy_uri, selector_type)
        from codevault.compat.mocks import MockPolicyRecord

        with inside():
            return MockPolicyRecord(run_name=run_name, uri=None)

    def load_from_uri(self, uri: str) -> PolicyRecord:
        """The record at an address, with its policy loaded.

        Raises:
            CodevaultError: As `codevault.load_policy`.
        """
        path = _files(_path(uri))[0]
        record = self._described(path)
        record.policy = load_policy(path, device=self._device)
        return record

    def save(self, pr: PolicyRecord, path: str | None = None) -> PolicyRecord:
        """Saves a record's policy as a checkpoint with its code; the record loads it from there.

        Raises:
            CaptureError: As `codevault.save_policy`.
        """
        where = pr.file_path if path is None else path
        os.makedirs(os.path.dirname(where) or ".", exist_ok=True)
        save_policy(where, pr.policy, metadata={"run_name": pr.run_name, **pr.metadata})
        pr.uri, pr.policy, pr._policy_store = f"file://{where}", None, self  # noqa: SLF001
        return pr

    def add_to_wandb_run(
        self, run_id: str, pr: PolicyRecord, additional_files: list[str] | None = None
    ) -> str:
        """Uploads a record's file as a model of a wandb run; its qualified name."""
        return self.add_to_wandb_artifact(
            run_id, "model", pr.metadata, pr.file_path, additional_files
        )

    def add_to_wandb_sweep(
        self, sweep_name: str, pr: PolicyRecord, additional_files: list[str] | None = None
    ) -> str:
        """Uploads a record's file as a model of a wandb sweep; its qualified name."""
        return self.add_to_wandb_artifact(
            sweep_name, "sweep_model", pr.metadata, pr.file_path, additional_files
        )

    def add_to_wandb_artifact(
        self,
        name: str,
        type: str,
        metadata: dict[str, Any],
        file_path: str,
        additional_files: list[str] | None = None,
    ) -> str:
        """Uploads a file as a wandb artifact; its qualified name.

        Raises:
            ValueError: The store was made without a wandb run.
        """
        if self._wandb_run is None:
            raise ValueError("PolicyStore was not initialized with a wandb run")
        import wandb

        artifact = wandb.Artifact(name, type=type, metadata=dict(metadata))
        artifact.add_file(file_path, name="model.mpt")
        for file in additional_files or []:
            artifact.add_file(file)
        artifact.save()
        artifact.wait()
        self._wandb_run.log_artifact(artifact)
        return str(artifact.qualified_name)

    def _described(self, path: str) -> PolicyRecord:
        facts = dict(read_manifest(path).metadata)
        name = facts.pop("run_name", os.path.basename(path))
        with inside():
            return PolicyRecord(self, name, f"file://{os.path.abspath(path)}", facts)


def _path(uri: str) -> str:
    if "://" in uri and not uri.startswith("file://"):
        scheme = uri.partition("://")[0]
        raise CodevaultError(
            f"{uri} is not read by PolicyStore",
            f"it takes paths and file://, and {scheme}:// is neither",
            f"codevault.load_policy({uri!r})  # for what fsspec knows; download the rest",
        )
    return uri.removeprefix("file://")


def _files(path: str) -> list[str]:
    """The checkpoint at a path, or those in a folder, the newest first."""
    if not os.path.isdir(path):
        return [path]
    names = [name for name in os.listdir(path) if name.endswith((".mpt", ".pt"))]
    names.sort(key=lambda name: (_number(name), name), reverse=True)
    return [os.path.join(path, name) for name in names]


def _number(name: str) -> int:
    found = re.search(r"(\d+)\.\w+$", name)
    return int(found[1]) if found else -1


def _top(records: Sequence[PolicyRecord], n: int, metric: str) -> list[PolicyRecord]:
    keys = (metric, metric.removesuffix("_score"))
    scores = []
    for record in records:
        facts = {**record.metadata, **record.metadata.get("eval_scores", {})}
        facts |= record.metadata.get("metrics", {})
        score = next((facts[key] for key in keys if facts.get(key) is not None), None)
        if score is not None:
            scores.append((score, record))
    if not scores or len(scores) < 0.8 * len(records):
        return [records[0]]
    return [record for _, record in sorted(scores, key=lambda pair: -pair[0])[:n]]
