"""The main job from end to end, as a tutorial: save, change the code, load old beside new.

Everything is real: a git repository, two commits, a policy package in two roots, a checkpoint. It
uses codevault's public names only.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from typing import TYPE_CHECKING, Any

import codevault

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT_V1 = {
    "pyproject.toml": """
        [tool.codevault]
        roots = ["agent/src", "common/src"]
    """,
    "agent/src/walker/__init__.py": "",
    "agent/src/walker/layers.yaml": "hidden: 64\n",
    "agent/src/walker/net.py": """
        import importlib
        import pathlib

        import torch
        import yaml
        from gait.scale import SCALE

        LAYERS = yaml.safe_load(pathlib.Path(__file__).with_name("layers.yaml").read_text())

        class Walker(torch.nn.Module):
            def __init__(self, inputs, actions, hidden=LAYERS["hidden"]):
                super().__init__()
                act = importlib.import_module("gait.activation")     # a module named by a string
                self.body = torch.nn.Linear(inputs, hidden)
                self.act = act.Activation()
                self.head = torch.nn.Linear(hidden, actions)

            def forward(self, obs):
                return SCALE * self.head(self.act(self.body(obs)))
    """,
    "common/src/gait/__init__.py": "",
    "common/src/gait/scale.py": "SCALE = 2.0\n",
    "common/src/gait/activation.py": """
        import torch

        class Activation(torch.nn.Module):
            def forward(self, x):
                return torch.tanh(x)
    """,
}

# The refactoring: one module and two state_dict keys renamed, an argument too, the scale gone.
AGENT_V2 = {
    **{path: text for path, text in AGENT_V1.items() if "activation" not in path},
    "common/src/gait/scale.py": "SCALE = 1.0\n",
    "common/src/gait/squash.py": AGENT_V1["common/src/gait/activation.py"].replace("tanh", "relu"),
    "agent/src/walker/net.py": AGENT_V1["agent/src/walker/net.py"]
    .replace("gait.activation", "gait.squash")
    .replace("self.body", "self.encoder")
    .replace("self.head", "self.actor")
    .replace("inputs, actions", "obs_dim, actions")
    .replace("Linear(inputs", "Linear(obs_dim"),
}


def demo(say: Callable[[str], None] = print) -> dict[str, Any]:
    """Runs the demo in a temporary folder, which it removes.

    Args:
        say: Takes each line that a newcomer should read.

    Returns:
        The figures: `cold_seconds`, `warm_seconds`, `forward_ratio`, and both outputs.
    """
    folder = tempfile.mkdtemp(prefix="codevault-demo-")
    try:
        return _demo(folder, say)
    finally:
        for here, _, _ in os.walk(folder):
            os.chmod(here, 0o700)
        shutil.rmtree(folder)


def _demo(folder: str, say: Callable[[str], None]) -> dict[str, Any]:
    import torch

    repo, cache = os.path.join(folder, "robots"), os.path.join(folder, "cache")
    checkpoint = os.path.join(folder, "best.mpt")
    obs = torch.linspace(-1, 1, 8 * 4).reshape(8, 4)

    say("1. At T1: commit a policy package, train it, save it with its code.")
    first = _commit(repo, AGENT_V1, "walker")
    new = _import_current(repo)
    policy = new.Walker(inputs=4, actions=2)
    _train(policy, obs)
    manifest = codevault.save_policy(
        checkpoint,
        policy,
        architecture={"class_path": "walker.net:Walker", "kwargs": {"inputs": 4, "actions": 2}},
        probe=obs,
    )
    trained = policy(obs)[0]
    say(f"   best.mpt names commit {first[:12]} and {len(manifest.modules)} modules of its own")

    say("2. At T2: the code has moved on. Modules, weights' names and an argument changed.")
    second = _commit(repo, AGENT_V2, "refactoring")
    new = _import_current(repo)
    say(f"   now at commit {second[:12]}; its policy refuses the old checkpoint:")
    say(_failure(new.Walker, policy.state_dict()))

    say("3. codevault.load_policy runs the checkpoint with its own code, in this same process.")
    start = time.perf_counter()
    old = codevault.load_policy(checkpoint, cache=cache)
    cold = time.perf_counter() - start
    start = time.perf_counter()
    codevault.load_policy(checkpoint, cache=cache)
    warm = time.perf_counter() - start
    current = new.Walker(obs_dim=4, actions=2)
    say(f"   then: {type(old).__module__}.{type(old).__qualname__}")
    say(f"         first action {_shown(old(obs)[0])}   trained with {_shown(trained)}")
    say(f"   now:  {type(current).__module__}.{type(current).__qualname__}")
    say(f"         first action {_shown(current(obs)[0])}   untrained")
    replay = codevault.provenance(old).probe
    say(f"   probe: {replay.compared if replay else 0} recorded output(s) reproduced")

    twin = codevault.load_policy(checkpoint, cache=cache)
    ratio, control = _ratio(old, policy, obs), _ratio(twin, old, obs)
    say(f"   load: {cold * 1e3:.0f} ms with the code fetched, {warm * 1e3:.0f} ms from then on")
    told = f"{ratio:.2f} of the plain import's time" if 0.9 < control < 1.1 else "machine too busy"
    say(f"   forward: {told} (same policy twice: {control:.2f})")
    return {
        "old": f"{type(old).__module__}.{type(old).__qualname__}",
        "new": f"{type(current).__module__}.{type(current).__qualname__}",
        "equal": bool(torch.equal(old(obs)[0], trained)),
        "cold_seconds": cold,
        "warm_seconds": warm,
        "forward_ratio": ratio,
        "control_ratio": control,
    }


def _commit(repo: str, files: dict[str, str], message: str) -> str:
    """Makes `files` the whole content of the repository, in one more commit."""
    git = ["git", "-C", repo, "-c", "user.name=demo", "-c", "user.email=demo@localhost"]
    if not os.path.isdir(repo):
        subprocess.run(["git", "init", "--quiet", repo], check=True)
    subprocess.run([*git, "rm", "-r", "--quiet", "--ignore-unmatch", "."], check=True)
    for path, text in files.items():
        full = os.path.join(repo, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text).lstrip("\n"))
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", message], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _import_current(repo: str) -> Any:
    """The work tree's code as an application imports it: by `sys.path`."""
    for name in [n for n in sys.modules if n.partition(".")[0] in ("walker", "gait")]:
        del sys.modules[name]
    roots = [os.path.join(repo, root) for root in ("agent/src", "common/src")]
    sys.path[:] = [*roots, *(entry for entry in sys.path if entry not in roots)]
    importlib.invalidate_caches()
    return importlib.import_module("walker.net")


def _train(policy: Any, obs: Any) -> None:
    import torch

    torch.manual_seed(0)
    target = torch.stack([obs.sum(1), obs.prod(1)], 1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        (policy(obs) - target).square().mean().backward()
        optimizer.step()


def _failure(walker: Any, weights: Any) -> str:
    lines = []
    try:
        walker(inputs=4, actions=2)
    except TypeError as error:
        lines.append(str(error))
    try:
        walker(obs_dim=4, actions=2).load_state_dict(weights)
    except RuntimeError as error:
        lines += str(error).splitlines()[:3]
    return "\n".join(f"     | {line.strip()[:100]}" for line in lines)


def _ratio(policy: Any, reference: Any, obs: Any) -> float:
    """The median of paired CPU times of 50 forward passes each, one policy to the other."""
    ratios = []
    for _ in range(21):
        times = []
        for each in (policy, reference):
            start = time.thread_time()
            for _ in range(50):
                each(obs)
            times.append(time.thread_time() - start)
        ratios.append(times[0] / times[1])
    return float(sorted(ratios)[len(ratios) // 2])


def _shown(action: Any) -> str:
    return "[" + ", ".join(f"{value:+.4f}" for value in action.tolist()) + "]"
