"""The table of known breaks: what changed in which release, and what a user of old code sees.

Names are those that old code must use to be concerned; a line without names concerns whoever
imports the package. The tests compare names with the releases that are installed.
"""

from __future__ import annotations

from typing import Final

from codevault.breaks import Break


def _named(names: str) -> tuple[str, ...]:
    return tuple(names.split())


def _of(package: str, names: str) -> tuple[str, ...]:
    return tuple(f"{package}.{name}" for name in names.split())


_GONE: Final = "ImportError or AttributeError: the name is gone"
_NOT_YET: Final = "ImportError or AttributeError: the name is not there yet"
_PYTHON: Final = "https://docs.python.org/3/whatsnew"
_NUMPY: Final = "https://numpy.org/doc/stable"
_TORCH: Final = "https://github.com/pytorch/pytorch"
_PYDANTIC: Final = "https://docs.pydantic.dev/latest/migration/"
_GYMNASIUM: Final = "https://github.com/Farama-Foundation/Gymnasium/releases/tag/v1.0.0"
_TENSORDICT: Final = "https://github.com/pytorch/tensordict"

BREAKS: Final = (
    Break(
        "python",
        "3.12",
        "ModuleNotFoundError: the module left the standard library",
        f"{_PYTHON}/3.12.html#removed",
        removed=("distutils", "imp", "asynchat", "asyncore", "smtpd"),
    ),
    Break(
        "python",
        "3.13",
        "ModuleNotFoundError: the module left the standard library",
        f"{_PYTHON}/3.13.html#removed-modules-and-apis",
        removed=_named(
            "aifc audioop cgi cgitb chunk crypt imghdr mailcap msilib nis nntplib ossaudiodev "
            "pipes sndhdr spwd sunau telnetlib uu xdrlib lib2to3"
        ),
    ),
    Break(
        "numpy",
        "1.24",
        _GONE,
        f"{_NUMPY}/release/1.24.0-notes.html#expired-deprecations",
        removed=_of("numpy", "int float object complex str typeDict"),
    ),
    Break(
        "numpy",
        "1.24",
        f"{_GONE}, until it came back in 2.0 as a name of numpy.bool_",
        f"{_NUMPY}/release/1.24.0-notes.html#expired-deprecations",
        removed=("numpy.bool",),
        until="2.0",
    ),
    Break(
        "numpy",
        "2.0",
        _GONE,
        f"{_NUMPY}/numpy_2_0_migration_guide.html#main-namespace",
        removed=_of(
            "numpy",
            "float_ complex_ string_ unicode_ Inf Infinity NaN infty PINF NINF product cumproduct "
            "alltrue sometrue round_ cast asfarray find_common_type msort mat sctypes obj2sctype "
            "issctype maximum_sctype recfromcsv deprecate",
        ),
    ),
    Break(
        "numpy",
        "2.0",
        "other numbers: numpy's scalars keep their precision (float32 stays float32), and integers "
        "that do not fit raise OverflowError",
        f"{_NUMPY}/numpy_2_0_migration_guide.html#changes-to-numpy-data-type-promotion",
    ),
    Break(
        "numpy",
        "2.0",
        _NOT_YET,
        f"{_NUMPY}/release/2.0.0-notes.html",
        added=_of("numpy", "concat permute_dims astype isdtype matrix_transpose vecdot"),
    ),
    Break(
        "numpy",
        "2.4",
        _GONE,
        f"{_NUMPY}/release/2.4.0-notes.html",
        removed=("numpy.in1d", "numpy.trapz"),
    ),
    Break(
        "torch",
        "1.13",
        "other numbers: it rounds down, where it cut off before",
        "https://docs.pytorch.org/docs/stable/generated/torch.floor_divide.html",
        changed=("torch.floor_divide",),
    ),
    Break("torch", "2.0", _GONE, f"{_TORCH}/pull/94709", removed=("torch._six",)),
    Break(
        "torch",
        "2.0",
        "RuntimeError: the function was deprecated and is removed",
        f"{_TORCH}/pull/70988",
        changed=("torch.symeig",),
    ),
    Break(
        "torch",
        "2.6",
        "UnpicklingError: torch.load takes plain tensors only, unless told otherwise",
        f"{_TORCH}/releases/tag/v2.6.0",
        changed=("torch.load",),
    ),
    Break(
        "torch",
        "2.9",
        "RuntimeError where the application sets fp32_precision, and old code the older switches",
        "https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere",
        changed=(
            "torch.backends.cuda.matmul.allow_tf32",
            "torch.backends.cudnn.allow_tf32",
            "torch.get_float32_matmul_precision",
        ),
    ),
    Break(
        "pydantic",
        "2.0",
        "PydanticImportError: the name is gone, or is in another package",
        _PYDANTIC,
        removed=_of(
            "pydantic",
            "BaseSettings Required compiled create_model_from_typeddict parse_raw_as "
            "parse_file_as stricturl validate_model NoneStr StrBytes ConstrainedStr ConstrainedInt "
            "ConstrainedFloat ConstrainedList fields.ModelField error_wrappers.ErrorWrapper "
            "env_settings.BaseSettings",
        ),
    ),
    Break(
        "pydantic",
        "2.0",
        "ValidationError: Optional fields have no default, and text is not made of numbers",
        _PYDANTIC,
        changed=("pydantic.BaseModel", "pydantic.dataclasses.dataclass"),
    ),
    Break(
        "pydantic",
        "2.0",
        _NOT_YET,
        _PYDANTIC,
        added=_of(
            "pydantic", "field_validator model_validator TypeAdapter RootModel computed_field"
        ),
    ),
    Break(
        "gymnasium",
        "1.0",
        _GONE,
        _GYMNASIUM,
        removed=(
            *_of("gymnasium.vector", "VectorEnvWrapper"),
            *_of(
                "gymnasium.wrappers",
                "AutoResetWrapper EnvCompatibility FrameStack GrayScaleObservation LazyFrames "
                "PixelObservationWrapper StepAPICompatibility VectorListInfo",
            ),
        ),
    ),
    Break(
        "gymnasium",
        "1.0",
        _NOT_YET,
        _GYMNASIUM,
        added=(
            *_of("gymnasium", "VectorizeMode"),
            *_of("gymnasium.vector", "VectorWrapper VectorObservationWrapper"),
            *_of("gymnasium.wrappers", "Autoreset FrameStackObservation GrayscaleObservation"),
        ),
    ),
    Break(
        "gymnasium",
        "1.0",
        "AttributeError: a wrapper no longer hands on the attributes of what it wraps",
        _GYMNASIUM,
        changed=_of("gymnasium", "Wrapper ObservationWrapper ActionWrapper RewardWrapper"),
    ),
    Break(
        "gymnasium",
        "1.0",
        "other episodes: vectorised environments reset at the step after the last",
        _GYMNASIUM,
        changed=_of("gymnasium", "make_vec vector.SyncVectorEnv vector.AsyncVectorEnv"),
    ),
    Break(
        "tensordict",
        "0.4",
        _GONE,
        f"{_TENSORDICT}/releases/tag/v0.4.0",
        removed=_of("tensordict", "MemmapTensor is_memmap set_transfer_ownership SubTensorDict"),
    ),
    Break(
        "tensordict",
        "0.5",
        "other actions: without a choice it takes the deterministic sample, where it took the mode",
        f"{_TENSORDICT}/pull/825",
        changed=_of(
            "tensordict.nn",
            "ProbabilisticTensorDictModule ProbabilisticTensorDictSequential set_interaction_type",
        ),
    ),
    Break(
        "tensordict",
        "0.6",
        _GONE,
        f"{_TENSORDICT}/releases/tag/v0.6.0",
        removed=_of(
            "tensordict.nn",
            "set_interaction_mode make_functional get_functional is_functional repopulate_module",
        ),
    ),
    Break(
        "tensordict",
        "0.10",
        "other values: a list that is set as an entry is stacked to a tensor",
        f"{_TENSORDICT}/pull/1382",
        changed=("tensordict.TensorDict", "tensordict.tensorclass"),
    ),
)
