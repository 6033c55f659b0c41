#!/usr/bin/env python3
"""Writes the archives of corpus/layer and corpus/context anew: what real layers have, and what
hostile ones would. The other corpora are text and are edited by hand."""

import gzip
import io
import pathlib
import tarfile

HERE = pathlib.Path(__file__).parent / "corpus"
OUT = "/dev/shm/outside"
UP = "../" * 12


def entry(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o644, **more):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def folder(name, **more):
    return entry(name, tarfile.DIRTYPE, mode=0o755, **more)


def link(name, to):
    return entry(name, tarfile.SYMTYPE, link=to, mode=0o777)


def hard(name, to):
    return entry(name, tarfile.LNKTYPE, link=to)


def node(name, kind, major=1, minor=3):
    return entry(name, kind, devmajor=major, devminor=minor)


def pack(entries, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    # Python pads to 10 KiB.
    return out.getvalue().rstrip(b"\0").ljust(512, b"\0")


def block(bytes_):
    """To whole blocks, with two empty ones at the end."""
    return bytes_ + b"\0" * (-len(bytes_) % 512) + b"\0" * 1024


LAYERS = {
    "plain": [folder("etc/"), entry("etc/hosts", data=b"127.0.0.1 x\n"), link("bin", "usr/bin"),
              folder("usr/bin/"), entry("usr/bin/p", data=b"#!", mode=0o4755),
              hard("usr/bin/q", "usr/bin/p")],
    "nodes": [node("dev/null", tarfile.CHRTYPE), node("dev/sda", tarfile.BLKTYPE, 8, 0),
              entry("run/fifo", tarfile.FIFOTYPE), node("dev/zero", tarfile.CHRTYPE, 0, 0)],
    "absolute": [entry("/dev/shm/outside/canary", data=b"dead"), folder("/", mtime=7)],
    "up": [entry(UP + "dev/shm/outside/canary", data=b"dead")],
    "up-inside": [entry("a/../../b", data=b"dead")],
    "through-link": [link("l", OUT), entry("l/canary", data=b"dead"), folder("l/dir/", mtime=1)],
    "through-relative": [link("l", UP + "dev/shm/outside"), entry("l/canary", data=b"dead")],
    "link-replaced": [link("l", OUT), folder("l/"), entry("l/canary", data=b"dead")],
    "links-around": [link("a", "b"), link("b", "a"), entry("a/x", data=b"x")],
    "dangling": [link("a", "b/c"), entry("a/x/y", data=b"x"), link("d", "/a/../b")],
    "hard-outside": [hard("h", OUT + "/canary"), entry("h", data=b"dead")],
    "hard-up": [hard("h", UP + "dev/shm/outside/canary")],
    "hard-over-link": [link("l", OUT + "/canary"), hard("h", "l"), entry("h", data=b"dead")],
    "hard-itself": [entry("f", data=b"x"), hard("f", "f"), hard("./f", "f")],
    "whiteout": [folder("d/"), entry("d/f", data=b"x"), entry("d/.wh.f"), entry("d/.wh..wh..opq"),
                 entry(".wh.."), entry(".wh.d")],
    "whiteout-link": [link("l", OUT), entry("l/.wh.canary"), entry("l/.wh..wh..opq")],
    "whiteout-up": [entry(".wh..."), entry("a/.wh.."), entry(".wh.")],
    "twice": [entry("f", data=b"1"), folder("f/"), entry("f/g", data=b"2"), entry("f", data=b"3")],
    "xattrs": [entry("f", data=b"x", pax_headers={
        "SCHILY.xattr.user.a": "b", "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.redirect": "/", "mtime": "-5.5"})],
    "pax-path": [entry("f", data=b"x", pax_headers={"path": UP + "dev/shm/outside/canary"}),
                 entry("g", data=b"x", pax_headers={"size": "99", "uid": "4294967296"})],
    "long": [entry("n" * 100 + "/" + "m" * 200, data=b"x"), link("k" * 120, "t" * 300)],
}

CONTEXTS = {
    "plain": [entry("config.json", data=b"{}"), folder("rootfs/"),
              entry("rootfs/bin/p", data=b"#!", mode=0o755), hard("rootfs/q", "rootfs/bin/p"),
              link("rootfs/l", "bin")],
    "dotted": [folder("./"), entry("./config.json", data=b"{}"), folder("./rootfs/"),
               entry("./rootfs/f", data=b"x"), entry("./README", data=b"ignored")],
    "no-config": [folder("rootfs/")],
    "no-rootfs": [entry("config.json", data=b"{}")],
    "rootfs-file": [entry("config.json", data=b"{}"), entry("rootfs", data=b"x")],
    "rootfs-link": [entry("config.json", data=b"{}"), link("rootfs", OUT),
                    entry("rootfs/canary", data=b"dead")],
    "hard-outside": [entry("config.json", data=b"{}"), hard("rootfs/h", "config.json")],
    "config-last": [entry("rootfs/f", data=b"x"), folder("rootfs/", mtime=9),
                    entry("config.json", data=b'{"Entrypoint":["/f"]}')],
    "names": [entry("config.json", data=b"{}"), entry("rootfs/" + "n" * 150, data=b"x"),
              entry("rootfs/f", data=b"x", uid=3000000, pax_headers={"SCHILY.xattr.user.a": "b"}),
              link("rootfs/" + "l" * 99, "t" * 200), node("rootfs/null", tarfile.CHRTYPE)],
    "whiteouts": [entry("config.json", data=b"{}"), entry("rootfs/f", data=b"x"),
                  entry("rootfs/.wh.f"), entry("rootfs/d/.wh..wh..opq")],
}

for kind, archives in (("layer", LAYERS), ("context", CONTEXTS)):
    directory = HERE / kind
    directory.mkdir(parents=True, exist_ok=True)
    for name, entries in archives.items():
        (directory / f"{name}.tar").write_bytes(block(pack(entries)))
    packed = gzip.compress(block(pack(archives["plain"])), mtime=0)
    (directory / "plain.tar.gz").write_bytes(packed)
(HERE / "layer" / "gnu.tar").write_bytes(block(pack(LAYERS["long"], tarfile.GNU_FORMAT)))
(HERE / "layer" / "cut.tar").write_bytes(pack(LAYERS["plain"])[:700])
