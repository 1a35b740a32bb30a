"""Where a model's files are: a folder, or the hub's copy on disk."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from ...common.errors import one_line
from ...common.identity import identity, sha256_file
from ...common.paths import is_folder
from ..errors import MllmError

FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")


def find_model(model: str, revision: str | None) -> tuple[Path, str | None]:
    """Return the folder of a model, and its name and commit if it is from the hub.

    Raises:
        MllmError: it cannot be found, or has no safetensors.
    """
    folder, hub = Path(model), None
    if not is_folder(folder):
        if model.count("/") > 1 or model.startswith((".", "/", "~")):
            raise MllmError(f"{model} is not a folder")
        try:
            # Said explicitly: huggingface_hub 1 asks for the list of files of a commit even when it is offline.
            offline = constants.HF_HUB_OFFLINE
            found = snapshot_download(model, revision=revision, allow_patterns=list(FILES), local_files_only=offline)
            folder = Path(found)
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            raise MllmError(
                f"{model}{f' at {revision}' if revision else ''} is not on disk and the hub cannot be reached: "
                "give a local folder, or fetch it with `hf download` where there is a network"
            ) from error
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise MllmError(f"{model} cannot be fetched from the hub: {one_line(error)}") from error
        hub = f"hub:{model}@{folder.name}"
    elif revision is not None:
        raise MllmError(f"{model} is a folder: it has no revision {revision}")
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise MllmError(f"{folder} is not a model: it needs config.json and weights as *.safetensors")
    return folder, hub


def weights_identity(folder: Path) -> str:
    """Return a hash of a model's weights, tokenizer and configuration."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer*"), folder / "config.json"])
    return f"sha256:{identity({file.name: sha256_file(file) for file in files})}"
