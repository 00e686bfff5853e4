"""Files from outside that lie, never end, or unpack to more than there is room for: one line each, status 2, in little
memory and at once."""

import gzip
import io
import os
import socket
import struct
import zipfile
import zlib

import numpy as np
import pytest

MIB = 2**20
MEMORY = 4 * 2**30  # bytes of addresses that a command may take: one that asks for more fails and is seen
LITTLE = 64 * MIB  # what a refusal may take beyond the imports, where nothing has to be read
HEADER = 256 * MIB  # the limit of data; what is below is read before it can be refused, and held up to twice


@pytest.fixture
def grokkit(grokkit):
    def run(*args):
        return unbounded(*args, memory=MEMORY)

    unbounded, run.folder = grokkit, grokkit.folder
    return run


def idx(*shape, data=None, kind=8):
    entries = bytes(int(np.prod(shape))) if data is None else data
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + entries


def packed_zeros(start=b"", gib=10, members=True):
    """A ``.gz`` of ``start`` and then ``gib`` GiB of zeros, 10 MB a 10 GiB: one stream, or many one after the other."""
    if members:
        return gzip.compress(start) + gzip.compress(bytes(64 * MIB)) * (16 * gib)
    return _one_stream(start, gib, 31)


def _one_stream(start, gib, format):
    packer = zlib.compressobj(9, zlib.DEFLATED, format)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    packer.compress(bytes(MIB))
    block = packer.flush(zlib.Z_FULL_FLUSH)  # it refers to nothing before it, so it can stand there any number of times
    return first + block * (1024 * gib)


def npz(path, packed_as=zipfile.ZIP_DEFLATED, **members):
    """An archive of members given as bytes."""
    with zipfile.ZipFile(path, "w", packed_as) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def npy(array=None, *, shape=None, descr="<f8", data=b""):
    if array is not None:
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()
    head = str({"descr": descr, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


# What may lie where a file should, by a function that puts it at a path. A name in /dev is linked to.
NO_FILES = {
    "a folder": os.mkdir,
    "a pipe": os.mkfifo,
    "a socket": lambda path: _bound(path),
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a device that is empty": lambda path: path.symlink_to("/dev/null"),
    "the terminal": lambda path: path.symlink_to("/dev/tty"),
    "links in a circle": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a pipe": lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe")),
    "a file of 100 TiB of nothing": lambda path: _hole(path, 100 * 2**40),
}


def _bound(path):
    """A socket's name may have 107 characters, and a test's folder has more."""
    folder = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(folder)


def _hole(path, size):
    """``size`` bytes that take no room, or as many as the file system allows."""
    path.touch()
    while size > 2**30:
        try:
            return os.truncate(path, size)
        except OSError:
            size //= 2
    return None


def mnist(folder):
    images = np.zeros((40, 28, 28), np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(*images.shape, data=images.tobytes()))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(40, data=bytes(i % 10 for i in range(40))))
    return ["mnist:40", "--train-size", "20", "--data-dir", folder], folder / "train-images-idx3-ubyte"


def mnist_packed(folder):
    task, path = mnist(folder)
    packed = path.with_name(f"{path.name}.gz")
    path.unlink()
    packed.write_bytes(b"")
    return task, packed


def imdb(folder):
    for part in ("train/pos", "train/neg"):
        (folder / part).mkdir(parents=True)
        for number in range(10):
            (folder / part / f"{number}.txt").write_text(f"review {number} of {part}")
    return ["imdb:20", "--train-size", "10", "--data-dir", folder], folder / "train/pos/0.txt"


QM9_HEADER = "Elements,XYZ_Ang,Polarizability_bohr3\n"


def qm9(folder):
    path = folder / "qm9_part1.csv"
    path.write_text(QM9_HEADER + "['F'],\"[[0,0,0]]\",1.0\n" * 20)
    return ["qm9:20", "--train-size", "10", "--data-dir", folder], path


def embedding(folder):
    path = folder / "weak.npz"
    np.savez(path, embedding=np.ones((9, 4)))
    return ["add:7", "--methods", f"adamw,groktransfer(weak={path})"], path


def amplifier(folder):
    path = folder / "amplifier.npz"
    np.savez(path, weight0=np.ones((4, 1)), bias0=np.ones(4), weight1=np.ones((1, 4)), bias1=np.ones(1))
    return ["add:7", "--methods", f"adamw,neuralgrok(amplifier={path})"], path


def code(folder):
    path = folder / "mine.py"
    path.write_text("")
    return [f"{path}:problem"], path


READERS = {kind.__name__: kind for kind in (mnist, mnist_packed, imdb, qm9, embedding, amplifier, code)}


@pytest.mark.parametrize("what", NO_FILES)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_named_and_not_read(grokkit, reader, what):
    args, path = READERS[reader](grokkit.folder)
    path.unlink()
    NO_FILES[what](path)
    ended = grokkit("compare", *args, "--out", "out")
    ended.assert_refused(str(path))
    assert ended.grown < LITTLE
    assert not (grokkit.folder / "out").exists()


IMAGES = {
    "no rows": idx(0, 28, 28),
    "images without pixels": idx(40, 0, 28),
    "fewer than its header says": idx(40, 28, 28, data=bytes(40 * 784 - 1)),
    "more than its header says": idx(40, 28, 28, data=bytes(40 * 784 + 1)),
    "a header of 4 billion images": idx(2**32 - 1, 28, 28, data=bytes(784)),
    "a header whose entries wrap around 2**64": idx(2**32 - 1, 2**31, 2**31 + 1, data=bytes(784)),
    "sizes that are negative in 32 bits": idx(0x80000000, 0xFFFFFFFF, 28, data=bytes(784)),
    "no more than a header": idx(40, 28, 28, data=b""),
    "half a header": idx(40, 28, 28)[:9],
    "nothing": b"",
    "labels": idx(40),
    "255 dimensions": bytes([0, 0, 8, 255]) + bytes(1020),
    "other numbers": idx(40, 28, 28, kind=0x0D),
    "text": b"P5 28 28 255\n",
    "an archive": zlib.compress(idx(40, 28, 28)),
    "as many as are read, and less there": idx(HEADER // 784, 28, 28, data=bytes(784)),
}


@pytest.mark.parametrize("what", IMAGES)
@pytest.mark.parametrize("reader", ["mnist", "mnist_packed"])
def test_images_whose_header_lies(grokkit, reader, what):
    args, path = READERS[reader](grokkit.folder)
    path.write_bytes(gzip.compress(IMAGES[what]) if path.suffix == ".gz" else IMAGES[what])
    ended = grokkit("compare", *args)
    ended.assert_refused(str(path), "get the file again")
    assert ended.grown < LITTLE


@pytest.mark.parametrize("labels", [idx(0), idx(39), idx(41), idx(40, data=b"\x0a" * 40), idx(2**32 - 1, data=b"")])
def test_labels_that_do_not_fit(grokkit, labels):
    args, path = mnist(grokkit.folder)
    path.with_name("train-labels-idx1-ubyte").write_bytes(labels)
    grokkit("compare", *args).assert_refused("train-labels-idx1-ubyte", "get the file again")


BOMBS = {
    "10 GiB of zeros": packed_zeros(),
    "10 GiB of zeros in one stream": packed_zeros(members=False),
    "40 images and 10 GiB of zeros": packed_zeros(idx(40, 28, 28)),
    "40 images and 10 GiB of zeros in one stream": packed_zeros(idx(40, 28, 28), members=False),
    "100,000 empty archives": gzip.compress(b"") * 100_000,
    "an archive of an archive": gzip.compress(packed_zeros(gib=1)),
    "10 MB that are no archive": bytes(10 * MIB),
    "an archive cut short": packed_zeros(idx(40, 28, 28), gib=1)[:100_000],
}


@pytest.mark.parametrize("what", BOMBS)
def test_packed_images_are_unpacked_only_as_far_as_their_header_says(grokkit, what):
    args, path = mnist_packed(grokkit.folder)
    path.write_bytes(BOMBS[what])
    ended = grokkit("compare", *args)
    ended.assert_refused(str(path), "get the file again")
    assert ended.grown < LITTLE


def test_a_header_that_says_as_much_as_is_read_bounds_the_memory(grokkit):
    args, path = mnist_packed(grokkit.folder)
    path.write_bytes(packed_zeros(idx(HEADER // 784, 28, 28, data=b"")))
    ended = grokkit("compare", *args)
    ended.assert_refused(str(path), "there are more")
    assert ended.grown < 3 * HEADER


ENTRIES = "['F']", '"[[0,0,0]]"', "1.0"
TABLES = {
    "no text": b"\xff\xfe" + QM9_HEADER.encode("utf-16"),
    "Latin-1": QM9_HEADER.encode() + "['\u00e9'],\"[[0,0,0]]\",1.0\n".encode("latin-1"),
    "nothing": b"",
    "no rows": QM9_HEADER.encode(),
    "another header": b"a,b\n1,2\n",
    "one line of 100 MB": b"x" * 100_000_000,
    "100 MB of commas": b"," * 100_000_000,
    "a quote that never ends": QM9_HEADER.encode() + b'"' + b"x\n" * 50_000_000,
    "a row of endless entries": QM9_HEADER.encode() + b'"\n",' * 25_000_000,
    "1 GiB": lambda path: _hole(path, 2**30),
    "elements within elements": ("[['F']]", ENTRIES[1], ENTRIES[2]),
    "elements by name": ("{'F': 1}", ENTRIES[1], ENTRIES[2]),
    "an element that is a number": ("[9]", ENTRIES[1], ENTRIES[2]),
    "no elements": ("[]", '"[]"', "1.0"),
    "code": ("[__import__('os').system('touch ran')]", ENTRIES[1], ENTRIES[2]),
    "brackets without end": ("[" * 10_000, ENTRIES[1], ENTRIES[2]),
    "a number of 5,000 digits": ("['F']", f'"[[{"9" * 5000},0,0]]"', "1.0"),
    "positions that are infinite": ("['F']", '"[[1e999,0,0]]"', "1.0"),
    "positions that are complex": ("['F']", '"[[1j,0,0]]"', "1.0"),
    "positions that are ragged": ("['F']", '"[[0,0],[0,0,0]]"', "1.0"),
    "a target that is NaN": (ENTRIES[0], ENTRIES[1], "nan"),
    "a target that is a word": (ENTRIES[0], ENTRIES[1], "many"),
    "a thousand atoms": (f'"{["H"] * 1000}"', f'"{[[i, 0, 0] for i in range(1000)]}"', "1.0"),
    "thirty carbons in a knot": (f'"{["C"] * 29}"', f'"{[[i % 5 * 1.4, i // 5 * 1.4, 0] for i in range(29)]}"', "1.0"),
}


@pytest.mark.parametrize("what", TABLES)
def test_tables_of_molecules(grokkit, what):
    args, path = qm9(grokkit.folder)
    table = TABLES[what]
    if isinstance(table, bytes):
        path.write_bytes(table)
    elif isinstance(table, tuple):
        path.write_text(QM9_HEADER + f"{','.join(table)}\n" * 20)
    else:
        table(path)
    ended = grokkit("compare", *args)
    ended.assert_refused("qm9")
    assert ended.grown < LITTLE
    assert not (grokkit.folder / "ran").exists()


REVIEWS = {
    "Latin-1": "tr\u00e8s bon".encode("latin-1"),
    "UTF-16": "a good film".encode("utf-16"),
    "half a character": "\u00e9".encode()[:1],
    "a surrogate": b"\xed\xb3\xbf",
    "2 MB": b"good " * 400_000,
}


@pytest.mark.parametrize("what", REVIEWS)
def test_reviews_that_are_no_text_or_too_long(grokkit, what):
    args, path = imdb(grokkit.folder)
    path.write_bytes(REVIEWS[what])
    ended = grokkit("compare", *args)
    ended.assert_refused(str(path))
    assert ended.grown < LITTLE


def test_reviews_that_are_too_much_together(grokkit):
    args, path = imdb(grokkit.folder)
    for number in range(300):
        (path.parent / f"{number}.txt").write_bytes(b"good \n" * 170_000)
    ended = grokkit("compare", *args)
    ended.assert_refused(str(grokkit.folder), "268,435,456 bytes")
    assert ended.grown < 2 * HEADER + LITTLE


EMBEDDINGS = {
    "complex": npy(np.ones((9, 4)) * 1j),
    "without columns": npy(np.ones((9, 0))),
    "without rows": npy(np.ones((0, 4))),
    "a vector": npy(np.ones(9)),
    "three dimensions": npy(np.ones((9, 4, 1))),
    "a number": npy(np.array(1.0)),
    "NaN": npy(np.full((9, 4), np.nan)),
    "infinite": npy(np.full((9, 4), np.inf)),
    "beyond float32": npy(np.full((9, 4), 1e300)),
    "text": npy(np.full((9, 4), "a")),
    "dates": npy(np.full((9, 4), np.datetime64("2020-01-01"))),
    "records": npy(np.zeros((9, 4), [("a", "f8")])),
    "objects": npy(shape=(9, 4), descr="|O", data=b"cposix\nsystem\n(S'touch ran'\ntR."),
    "a header of 8 TB": npy(shape=(10**6, 10**6)),
    "a header that wraps around 2**64": npy(shape=(2**32, 2**32), data=bytes(64)),
    "a negative size": npy(shape=(-9, -4), data=bytes(9 * 4 * 8)),
    "entries of no bytes": npy(shape=(9, 4), descr="|V0"),
    "less than its header says": npy(np.ones((9, 4)))[:-1],
    "more than its header says": npy(np.ones((9, 4))) + b"\0",
    "no header": b"",
    "a header that is code": npy(np.ones((9, 4))).replace(b"'<f8'", b"f()  "),
    "a header of 10 GiB, and they are there": lambda path: npz_bomb(
        path, "embedding", npy(shape=(9, 10 * 2**30 // 72))
    ),
    "10 GiB more than its header says": lambda path: npz_bomb(path, "embedding", npy(np.ones((9, 4)))),
}


@pytest.mark.parametrize("what", EMBEDDINGS)
def test_embeddings(grokkit, what):
    args, path = embedding(grokkit.folder)
    content = EMBEDDINGS[what]
    if callable(content):
        content(path)
    else:
        npz(path, embedding=content)
    ended = grokkit("compare", *args)
    ended.assert_refused("weak.npz")
    assert ended.grown < LITTLE
    assert not (grokkit.folder / "ran").exists()


def npz_bomb(path, name, start):
    """An archive of one member: ``start``, and 10 GiB of zeros."""
    data, name = _one_stream(start, 10, -15), f"{name}.npy".encode()
    about = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, 0, len(data), 2**32 - 2, len(name), 0)
    local = b"PK\3\4" + about + name + data
    entry = b"PK\1\2" + struct.pack("<H", 20) + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    path.write_bytes(local + entry + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0))


ARCHIVES = {
    "a list of 10,000 entries": lambda path: npz(path, **{f"a{number}": b"" for number in range(10_000)}),
    "packed with bzip2": lambda path: npz(path, zipfile.ZIP_BZIP2, embedding=npy(np.zeros((9, 2**20)))),
    "packed with lzma": lambda path: npz(path, zipfile.ZIP_LZMA, embedding=npy(np.zeros((9, 2**20)))),
    "another array": lambda path: npz(path, weights=npy(np.ones((9, 4)))),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "nothing": lambda path: path.write_bytes(b""),
    "one array without an archive": lambda path: path.write_bytes(npy(np.ones((9, 4)))),
    "10 GiB of zeros": lambda path: npz_bomb(path, "bias0", npy(shape=(10 * 2**30 // 8,))),
    "a flipped bit": lambda path: path.write_bytes(path.read_bytes().replace(b"\xf0\x3f", b"\xf0\x3e", 1)),
}


@pytest.mark.parametrize("what", ARCHIVES)
@pytest.mark.parametrize("reader", ["embedding", "amplifier"])
def test_archives(grokkit, reader, what):
    args, path = READERS[reader](grokkit.folder)
    ARCHIVES[what](path)
    ended = grokkit("compare", *args)
    ended.assert_refused(path.name)
    assert ended.grown < 2 * LITTLE


AMPLIFIERS = {
    "complex": npy(np.ones(4) * 1j),
    "NaN": npy(np.full(4, np.nan)),
    "without entries": npy(np.ones(0)),
    "another shape": npy(np.ones((4, 4))),
    "a header of 8 TB": npy(shape=(10**12,)),
}


@pytest.mark.parametrize("what", AMPLIFIERS)
def test_amplifiers(grokkit, what):
    args, path = amplifier(grokkit.folder)
    others = {"weight0": np.ones((4, 1)), "weight1": np.ones((1, 4)), "bias1": np.ones(1)}
    npz(path, bias0=AMPLIFIERS[what], **{name: npy(array) for name, array in others.items()})
    ended = grokkit("compare", *args)
    ended.assert_refused("amplifier.npz")
    assert ended.grown < LITTLE


@pytest.mark.parametrize("what", [name for name in NO_FILES if name != "a file of 100 TiB of nothing"])
def test_bench_replaces_regular_files_only(grokkit, what):
    path = grokkit.folder / "bench.json"
    NO_FILES[what](path)
    kind = os.lstat(path).st_mode
    grokkit("bench", "--rows", "overhead-ema", "--json", path).assert_refused(
        "--json", "bench.json", "cannot be written"
    )
    assert os.lstat(path).st_mode == kind


@pytest.mark.parametrize(
    "path", ["/dev/null", "/dev/zero", "/dev/full", "/proc/self/status", ".", "", "/", "no.py/x.json"]
)
def test_bench_writes_to_no_device(grokkit, path):
    (grokkit.folder / "no.py").touch()
    why = "cannot be written" if path else "is not possible: a path"
    grokkit("bench", "--rows", "overhead-ema", "--json", path).assert_refused("--json", why)


@pytest.mark.parametrize("what", ["mnist", "imdb", "qm9", "embedding", "amplifier"])
def test_the_files_are_good_before_they_are_spoilt(grokkit, what):
    """Else a suite that refuses everything would pass."""
    args, _ = READERS[what](grokkit.folder)
    ended = grokkit("compare", *args, "--only", "nobody")
    ended.assert_refused("cannot be normalized" if what == "qm9" else "nobody")
