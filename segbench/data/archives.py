"""The files of a folder, a .zip or a .tar, one after another. Nothing is unpacked onto the disk.

An archive is input from elsewhere. One that names paths outside itself, links, devices, encrypted
or repeated files, or more than a data set can hold is refused as a whole, whichever of its files
are wanted; what is read of a file is bounded whatever its header says.
"""

import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from segbench.errors import InputError
from segbench.parallel import watched

MOST_FILES = 100_000
MOST_BYTES = 2**36
"""Of all files together, unpacked: 64 GiB."""
MOST_BYTES_OF_A_FILE = 2**28
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, UnicodeDecodeError, OSError),
)
"""What Python raises for archives that are none, damaged, or of a kind it does not read."""


class Source(Protocol):
    """Where files come from.

    names: the paths of its regular files, with slashes, relative to the source.
    """

    path: Path
    names: list[str]

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The contents of some of them, in the source's own order."""


def open_source(path: Path) -> Source:
    """A folder, a .zip, a .tar or a .tar.gz.

    Raises:
        InputError: none of these, damaged, or an archive that is not safe to read.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise InputError(f"{path}: not found; give a folder, a .zip, a .tar or a .tar.gz")
    with _readable(path):
        return Zip(path) if zipfile.is_zipfile(path) else Tar(path)


class Folder:
    """A folder's files; links to files and folders are the user's own and are followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files = (found for found in path.rglob("*") if found.is_file())
        self.names = sorted(file.relative_to(path).as_posix() for file in files)

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in self.names:
            if name in wanted:
                with (self.path / name).open("rb") as stream:
                    yield name, _bounded(stream, self.path / name)


class Zip:
    """A .zip's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self.names = list(_checked(path, map(_zip_entry, archive.infolist())))

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        with _readable(self.path), zipfile.ZipFile(self.path) as archive:
            for name in self.names:
                if name in wanted:
                    with archive.open(name) as stream:
                        yield name, _bounded(cast(BinaryIO, stream), self.path / name)


class Tar:
    """A .tar's files; a .tar.gz is decompressed once to list them and once to read them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as archive:
            listed = watched(map(_tar_entry, archive), None, "listing")
            self.names = list(_checked(path, listed))

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        with _readable(self.path), self._open() as archive:
            for member in archive:
                if member.name in wanted:
                    stream = cast(BinaryIO, archive.extractfile(member))
                    yield member.name, _bounded(stream, self.path / member.name)

    @contextmanager
    def _open(self) -> Iterator[tarfile.TarFile]:
        with self.path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
            bounded = cast(BinaryIO, _InBounds(stream, self.path))
            with tarfile.open(fileobj=bounded, mode="r:") as archive:
                yield archive


class _InBounds:
    """A stream that refuses large single reads: a tar's header may claim a name of gigabytes."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.stream, self.path = stream, path
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > MOST_BYTES_OF_A_FILE:
            raise InputError(f"{self.path}: holds a header of {size:,} bytes; {_REMEDY}")
        return self.stream.read(size)


_REMEDY = "segbench reads no such archive, get another copy, or unpack it yourself"
Entry = tuple[str, str | None, int]
"""A name with a slash at the end of folders, what is wrong with it, its size in bytes."""


def _zip_entry(info: zipfile.ZipInfo) -> Entry:
    wrong = None
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        wrong = "a link or device"
    elif info.flag_bits & 1:
        wrong = "encrypted"
    return info.orig_filename, wrong, info.file_size


def _tar_entry(member: tarfile.TarInfo) -> Entry:
    wrong = None if member.isreg() or member.isdir() else "a link or device"
    return member.name + ("/" if member.isdir() else ""), wrong, member.size


def _checked(path: Path, entries: Iterable[Entry]) -> Iterator[str]:
    """The names of the files among the entries."""
    total, seen = 0, set()
    for count, (name, wrong, size) in enumerate(entries, 1):
        total += size
        if name.startswith("/") or re.search(r"\\|\0|^[A-Za-z]:", name):
            wrong = "a path that is not relative with slashes"
        elif ".." in PurePosixPath(name).parts:
            wrong = "a path that leads out of it"
        elif name in seen and not name.endswith("/"):
            wrong = "twice there"
        if wrong is not None:
            raise InputError(f"{path}: {name[:200]!r} in it is {wrong}; {_REMEDY}")
        if count > MOST_FILES or total > MOST_BYTES:
            raise InputError(
                f"{path}: holds more than {MOST_FILES:,} files or {MOST_BYTES >> 30} GiB; {_REMEDY}"
            )
        if not name.endswith("/"):
            seen.add(name)
            yield name


def _bounded(stream: BinaryIO, path: Path) -> bytes:
    content = stream.read(MOST_BYTES_OF_A_FILE + 1)
    if len(content) > MOST_BYTES_OF_A_FILE:
        raise InputError(f"{path}: is larger than {MOST_BYTES_OF_A_FILE >> 20} MiB; no image is")
    return content


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        # what the system refuses has a number, what gzip and bzip2 say of their data has none
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(
            f"{path}: not readable as a .zip, a .tar or a .tar.gz ({error}); get another copy"
        ) from None
