"""Zip archives of checkpoints."""

import shutil
import zipfile
from pathlib import Path

from keras_simclr.checkpoints.bucket import inside


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into a new folder, completely or not at all.

    Args:
        archive: Path of the archive.
        folder: The folder. What a killed process left of it is removed.

    Raises:
        ValueError: If the archive is damaged, or has a path that leads outside the folder.
        OSError: If there is no space.
    """
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            targets = [inside(unfinished, member.filename) for member in members]
            for member, target in zip(members, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file)
        unfinished.rename(folder)
    except OSError:
        raise
    except Exception as error:  # its cause is in the archive
        raise ValueError(
            f"{archive} is damaged. Received: {error}. Delete it: the next call downloads it again."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
