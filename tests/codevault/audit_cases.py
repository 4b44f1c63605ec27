"""What old code may do to the process: texts that the audit's tests plant, all to be put back."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from codevault import audit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPLINT = "_splint_aaaaaaaaaaaa_bbbbbbbbbbbb"

# What it is called, and old code that changes it. All of these can be put back.
RESULTS = {
    "default dtype": (
        "torch default dtype",
        "import torch; torch.set_default_dtype(torch.float64)",
    ),
    "default device": ("torch default device", "import torch; torch.set_default_device('cpu')"),
    "deterministic": (
        "torch deterministic algorithms",
        "import torch; torch.use_deterministic_algorithms(True, warn_only=True)",
    ),
    "filled memory": (
        "torch fills of new memory",
        "import torch; torch.utils.deterministic.fill_uninitialized_memory = False",
    ),
    "matmul precision": (
        "torch float32 precision",
        "import torch; torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    ),
    "reduced precision": (
        "torch reduced precision",
        "import torch; torch.backends.cuda.matmul.allow_fp16_accumulation = True",
    ),
    "cudnn": ("cudnn", "import torch; torch.backends.cudnn.benchmark = True"),
    "mkldnn": ("mkldnn", "import torch; torch.backends.mkldnn.deterministic = True"),
    "attention": ("attention kernels", "import torch; torch.backends.cuda.enable_flash_sdp(False)"),
    "fast path": (
        "fast path of attention",
        "import torch; torch.backends.mha.set_fastpath_enabled(False)",
    ),
    "denormals": ("flushing of denormal numbers", "import torch; torch.set_flush_denormal(True)"),
    "gradients": ("torch gradients", "import torch; torch.set_grad_enabled(False)"),
    "autocast": ("torch autocast", "import torch; torch.set_autocast_enabled('cpu', True)"),
    "TorchScript": ("TorchScript", "import torch; torch.jit._state._enabled.enabled = False"),
    "global hook": (
        "hooks of all torch modules",
        """
        import torch
        def hook(module, inputs, output): pass
        torch.nn.modules.module.register_module_forward_hook(hook)
        """,
    ),
    "seed of torch": ("torch's random numbers", "import torch; torch.manual_seed(7)"),
    "seed of numpy": ("numpy's random numbers", "import numpy; numpy.random.seed(7)"),
    "seed of Python": ("Python's random numbers", "import random; random.seed(7)"),
    "decimal": ("decimal context", "import decimal; decimal.getcontext().prec = 5"),
    "tensordict": (
        "TensorDict's way to sample",
        """
        from tensordict.nn import InteractionType, probabilistic
        probabilistic._interaction_type.set_mode(InteractionType.MODE)
        """,
    ),
    "patched nn.Module": (
        "patched library code",
        """
        import torch
        def to(self, *args): return self
        torch.nn.Module.to = to
        """,
    ),
    "patched layer": (
        "patched library code",
        """
        import functools, torch
        real = torch.nn.Linear.forward
        @functools.wraps(real)
        def forward(self, x): return real(self, x) * 2
        torch.nn.Linear.forward = forward
        """,
    ),
    "patched where it is inherited": (
        "patched library code",
        """
        import torch
        def train(self, mode=True): return self
        torch.nn.Linear.train = train
        """,
    ),
    "patched where a builtin is used": (
        "patched library code",
        "import torch; torch.nn.functional.len = lambda x: 1",
    ),
    "patched by a partial": (
        "patched library code",
        "import functools, torch; torch.load = functools.partial(torch.load, weights_only=False)",
    ),
    "patched functional": (
        "patched library code",
        "import torch; torch.nn.functional.relu = torch.nn.functional.gelu",
    ),
    "patched init": (
        "patched library code",
        "import torch; torch.nn.init.kaiming_uniform_ = lambda t, *a, **k: t",
    ),
    "patched json": ("patched library code", "import json; json.loads = lambda text: {}"),
    "patched encoder": (
        "patched library code",
        "import json; json.JSONEncoder.default = lambda s, o: str(o)",
    ),
    "patched random": ("patched library code", "import random; random.random = lambda: 4"),
    "patched os": ("patched library code", "import os; os.getlogin = lambda: 'me'"),
    "patched constant": ("patched library code", "import math; math.pi = 3.0"),
    "deleted function": ("patched library code", "import torch; del torch.nn.functional.celu"),
    "patched builtins": ("names in builtins", "import builtins; builtins.round = lambda x: x"),
    "module replaced": (
        "modules in sys.modules",
        """
        import sys, json
        sys.modules['textwrap'] = json
        """,
    ),
    "module replaced, behind the others": (
        "modules in sys.modules",
        """
        import sys, json
        sys.modules.pop('textwrap')
        sys.modules['textwrap'] = json
        """,
    ),
    "module taken out": ("modules in sys.modules", "import sys; sys.modules.pop('textwrap')"),
}
STATE = {
    "sys.path": ("sys.path", "import sys; sys.path.insert(0, '/nowhere')"),
    "meta_path": (
        "sys.meta_path",
        """
        import sys
        class Finder:
            find_spec = staticmethod(lambda *a: None)
        sys.meta_path.append(Finder)
        """,
    ),
    "argv": ("sys.argv", "import sys; sys.argv.append('--secret')"),
    "excepthook": ("exception hooks", "import sys; sys.excepthook = lambda *a: None"),
    "hook of threads": (
        "hooks of threads",
        "import threading; threading.excepthook = lambda a: None",
    ),
    "streams": ("standard streams", "import io, sys; sys.stdin = io.StringIO()"),
    "recursion limit": ("interpreter limits", "import sys; sys.setrecursionlimit(12345)"),
    "switch interval": ("interpreter limits", "import sys; sys.setswitchinterval(0.25)"),
    "gc off": ("garbage collector", "import gc; gc.disable()"),
    "gc threshold": ("garbage collector", "import gc; gc.set_threshold(9999)"),
    "copyreg": (
        "copyreg reducers",
        """
        import argparse, copyreg
        copyreg.pickle(argparse.Namespace, lambda options: "options")
        """,
    ),
    "new builtin": ("names in builtins", "import builtins; builtins.cprint = print"),
    "environ": ("environment variables", "import os; os.environ['MY_TOKEN'] = 'hunter2'"),
    "environ changed": ("environment variables", "import os; os.environ['PATH'] += ':/hunter2'"),
    "environ removed": ("environment variables", "import os; os.environ.pop('GIT_AUTHOR_NAME')"),
    "chdir": ("working folder", "import os; os.chdir('/')"),
    "umask": ("umask", "import os; os.umask(0o077)"),
    "signal": ("signal handlers", "import signal; signal.signal(signal.SIGUSR1, lambda *a: None)"),
    "locale": ("locale", "import locale; locale.setlocale(locale.LC_TIME, 'C.UTF-8')"),
    "socket": ("socket timeout", "import socket; socket.setdefaulttimeout(3)"),
    "start method": (
        "start method of processes",
        "import multiprocessing; multiprocessing.set_start_method('forkserver', force=True)",
    ),
    "event loop policy": (
        "event loop policy",
        """
        import asyncio
        class Policy(asyncio.DefaultEventLoopPolicy): pass
        asyncio.set_event_loop_policy(Policy())
        """,
    ),
    "reducer": (
        "reducers of multiprocessing",
        """
        from multiprocessing.reduction import ForkingPickler
        from argparse import Namespace
        ForkingPickler.register(Namespace, str)
        """,
    ),
    "resource limit": (
        "resource limits",
        """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        """,
    ),
    "matplotlib": (
        "matplotlib settings",
        "import matplotlib; matplotlib.rcParams['figure.dpi'] = 55",
    ),
    "temporary files": (
        "folder of temporary files",
        "import tempfile; tempfile.tempdir = '/nowhere'",
    ),
    "csv": ("csv field limit", "import csv; csv.field_size_limit(1 << 20)"),
    "certificates": (
        "https certificates",
        "import ssl; ssl._create_default_https_context = ssl._create_unverified_context",
    ),
    "root level": ("root logger", "import logging; logging.getLogger().setLevel(5)"),
    "root handler": (
        "root logger",
        "import logging; logging.root.addHandler(logging.NullHandler())",
    ),
    "root filter": ("root logger", "import logging; logging.root.addFilter(lambda record: True)"),
    "logging.disable": ("logging.disable", "import logging; logging.disable(10)"),
    "library's logger": ("loggers", "import logging; logging.getLogger('torch.hub').setLevel(5)"),
    "logger turned off": (
        "loggers",
        "import logging; logging.getLogger('torch.hub').disabled = True",
    ),
    "logger class": (
        "logger class",
        """
        import logging
        class Loud(logging.Logger): pass
        logging.setLoggerClass(Loud)
        """,
    ),
    "record factory": (
        "log record factory",
        "import logging; logging.setLogRecordFactory(lambda *a, **k: logging.LogRecord(*a, **k))",
    ),
    "level name": ("names of log levels", "import logging; logging.addLevelName(7, 'TRACE')"),
    "patched Logger": (
        "patched logging code",
        "import logging; logging.Logger.trace2 = logging.Logger.info = print",
    ),
    "warning filter": (
        "warning filters",
        "import warnings; warnings.filterwarnings('ignore', 'x')",
    ),
    "showwarning": (
        "patched logging code",
        "import warnings; warnings.showwarning = lambda *a: None",
    ),
    "torch threads": (
        "torch threads",
        "import torch; torch.set_num_threads(torch.get_num_threads() + 1)",
    ),
    "anomaly": (
        "torch anomaly detection",
        "import torch; torch.autograd.set_detect_anomaly(True, False)",
    ),
    "torch print options": (
        "torch print options",
        "import torch; torch.set_printoptions(precision=2)",
    ),
    "torch warnings": ("repeated torch warnings", "import torch; torch.set_warn_always(True)"),
    "sharing strategy": (
        "sharing of tensors",
        "import torch.multiprocessing as m; m.set_sharing_strategy('file_system')",
    ),
    "hub": ("folder of torch.hub", "import torch; torch.hub.set_dir('/nowhere')"),
    "validation": (
        "checks of distributions",
        "import torch; torch.distributions.Distribution.set_default_validate_args(False)",
    ),
    "safe globals": (
        "classes that torch.load takes",
        """
        import torch
        from argparse import Namespace
        torch.serialization.add_safe_globals([Namespace])
        """,
    ),
    "pytree": (
        "torch pytree nodes",
        """
        import torch
        from argparse import Namespace
        torch.utils._pytree._private_register_pytree_node(
            Namespace, lambda o: ([], None), lambda v, c: Namespace())
        """,
    ),
    "numpy errors": ("numpy errors", "import numpy; numpy.seterr(under='raise')"),
    "numpy print options": (
        "numpy print options",
        "import numpy; numpy.set_printoptions(precision=2)",
    ),
    "numpy buffer": ("numpy buffer size", "import numpy; numpy.setbufsize(16000)"),
    "gymnasium": (
        "gymnasium environments",
        "import gymnasium; gymnasium.register('Walker-v9', entry_point='walker.env:Env')",
    ),
    "divergence": (
        "divergences of distributions",
        """
        import torch
        from torch.distributions import Cauchy, Gumbel
        @torch.distributions.register_kl(Cauchy, Gumbel)
        def _kl(p, q): return 0
        """,
    ),
    "yaml": (
        "YAML constructors",
        "import yaml; yaml.add_constructor('!own', lambda l, n: None, yaml.SafeLoader)",
    ),
}

# Nothing can put these back; each test module ends with what takes them away again.
LASTING = {
    "exit function": (
        "exit functions",
        "import atexit; atexit.register(print); UNDO = lambda: atexit.unregister(print)",
    ),
    "thread": (
        "threads",
        """
        import threading
        done = threading.Event()
        threading.Thread(target=done.wait, daemon=True).start()
        UNDO = done.set
        """,
    ),
    "timer": (
        "interval timers",
        """
        import signal
        signal.setitimer(signal.ITIMER_PROF, 900)
        UNDO = lambda: signal.setitimer(signal.ITIMER_PROF, 0)
        """,
    ),
    "library defined": (
        "torch operators defined",
        """
        import torch
        library = torch.library.Library("planted", "DEF")
        library.define("one(Tensor x) -> Tensor")
        UNDO = library._destroy
        """,
    ),
    "aten overridden": (
        "torch's own operators overridden",
        """
        import torch
        library = torch.library.Library("aten", "IMPL")
        library.impl("special_i1", lambda x: x, "XPU")
        UNDO = library._destroy
        """,
    ),
    "mode left on": (
        "torch modes",
        """
        import torch
        class Mode(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                return function(*args, **(kwargs or {}))
        mode = Mode()
        mode.__enter__()
        UNDO = lambda: mode.__exit__(None, None, None)
        """,
    ),
    "inference mode left on": (
        "torch inference mode",
        """
        import torch
        mode = torch.inference_mode()
        mode.__enter__()
        torch.set_grad_enabled(True)
        UNDO = lambda: mode.__exit__(None, None, None)
        """,
    ),
}
CLEAN = {
    "nothing": "",
    "layers": """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(4))
                self.memory = nn.LSTM(4, 8)
                nn.init.orthogonal_(self.memory.weight_hh_l0)
                self.register_buffer("scale", torch.rand(3))
            def forward(self, x):
                return self.memory(self.body(x))
        net = Net()
        net(torch.rand(2, 3, 8, 8))
        net.eval()
        with torch.no_grad():
            net(torch.rand(2, 3, 8, 8))
    """,
    "attention": """
        import torch
        from torch import nn
        layer = nn.TransformerEncoderLayer(16, 4, batch_first=True)
        net = nn.TransformerEncoder(layer, 2)
        net(torch.rand(2, 5, 16))
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
        nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))
    """,
    "tensordict": """
        import torch
        from tensordict import TensorDict
        from tensordict.nn import InteractionType, TensorDictModule, TensorDictSequential
        from tensordict.nn import set_interaction_type
        net = TensorDictSequential(
            TensorDictModule(torch.nn.Linear(4, 8), ["obs"], ["hidden"]),
            TensorDictModule(torch.nn.Linear(8, 2), ["hidden"], ["action"]))
        with set_interaction_type(InteractionType.MODE):
            net(TensorDict({"obs": torch.rand(3, 4)}, [3]))
    """,
    "distributions and spaces": """
        import gymnasium, torch
        space = gymnasium.spaces.Dict(obs=gymnasium.spaces.Box(-1, 1, (4,)))
        space.sample()
        torch.distributions.Categorical(logits=torch.rand(3)).sample()
    """,
    "an optimizer step and a hook of its own": """
        import torch
        net = torch.nn.Linear(3, 3)
        net.register_forward_hook(lambda *a: None)
        optimizer = torch.optim.AdamW(net.parameters())
        net(torch.rand(2, 3)).sum().backward()
        optimizer.step()
    """,
    "usual module-level code": """
        from __future__ import annotations
        import dataclasses, enum, functools, logging, os, typing, warnings
        logger = logging.getLogger(__name__)
        logger.setLevel(logging.INFO)
        logger.addHandler(logging.NullHandler())
        os.environ.get("HOME")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("x")
        @dataclasses.dataclass
        class Config:
            width: int = 3
        class Kind(enum.Enum):
            A = 1
        @functools.singledispatch
        def f(x): return x
    """,
    "registrations for classes of its own": """
        import copyreg, torch
        from multiprocessing.reduction import ForkingPickler
        from torch.distributions import Normal, register_kl
        class Own(Normal): pass
        copyreg.pickle(Own, lambda own: "own")
        ForkingPickler.register(Own, str)
        torch.serialization.add_safe_globals([Own])
        torch.utils._pytree.register_pytree_node(Own, lambda o: ([], None), lambda v, c: Own())
        @register_kl(Own, Normal)
        def _kl(p, q): return 0
    """,
    "state kept by contexts": """
        import decimal, random, torch, numpy
        with torch.device("meta"), torch.autocast("cpu"), torch.inference_mode():
            torch.nn.Linear(3, 3)
        with decimal.localcontext() as c:
            c.prec = 3
        with numpy.errstate(all="ignore"), numpy.printoptions(precision=2):
            numpy.random.default_rng(3).normal()
        random.Random(3).random()
        torch.rand(3, generator=torch.Generator().manual_seed(3))
    """,
    "traced and scripted": """
        import torch
        torch.jit.trace(torch.nn.Linear(3, 3), torch.rand(2, 3))
        torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU()))
        torch.compile(torch.nn.Linear(3, 3), backend="eager")(torch.rand(2, 3))
    """,
}


class Planter:
    """Runs texts as modules of old code, each between two looks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._befores: list[audit.Before] = []
        self._module: Any = None

    def plant(self, text: str, shared: Sequence[str] = (), kept: Sequence[str] = ()) -> audit.Audit:
        name = f"{SPLINT}.planted{len(self._befores)}"
        file = self._folder / f"{name.rpartition('.')[2]}.py"
        file.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        self._module = importlib.util.module_from_spec(spec)
        self._befores.append(audit.take(SPLINT, shared))
        sys.modules[name] = self._module
        spec.loader.exec_module(self._module)
        return audit.compare(self._befores[-1], kept)

    def look_again(self) -> audit.Audit:
        return audit.compare(self._befores[-1])

    def undo(self) -> None:
        self._module.UNDO()

    def forget(self) -> None:
        self._befores.clear()
        self._module = None
        for name in [name for name in sys.modules if name.startswith(SPLINT)]:
            del sys.modules[name]
