#!/usr/bin/env python3
"""Writes a folder as a container image: an OCI layout in a tar file, with nothing but Python.

One layer, and every byte follows from the input: the same files give the same digests.
https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
"""

import argparse
import hashlib
import io
import json
import platform
import stat
import tarfile
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
KIND = "application/vnd.oci.image"


def layer_of(root: Path) -> bytes:
    """All files and folders below `root`, as they lie, but of root and without their times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            entry = tarfile.TarInfo(str(path.relative_to(root)))
            entry.mode = stat.S_IMODE(path.stat().st_mode)
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                content = path.read_bytes()
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def config_of(containerfile: str) -> dict:
    """What the last stage of a Containerfile says about running: USER, ENTRYPOINT, EXPOSE and LABEL."""
    config: dict = {"Labels": {}, "ExposedPorts": {}}
    for line in containerfile.replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            config = {"Labels": {}, "ExposedPorts": {}}
        elif instruction == "USER":
            config["User"] = rest
        elif instruction == "ENTRYPOINT":
            config["Entrypoint"] = json.loads(rest)
        elif instruction == "EXPOSE":
            config["ExposedPorts"] |= {f"{port}/tcp": {} for port in rest.split()}
        elif instruction == "LABEL":
            name, _, text = rest.partition("=")
            config["Labels"][name] = json.loads(text)
    return config


def write(output: Path, name: str, root: Path, config: dict) -> None:
    """The layout: an index that names one manifest, and the blobs by their digests."""
    blobs: dict[str, bytes] = {}

    def blob(kind: str, content: bytes) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": f"{KIND}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    def document(content: dict) -> bytes:
        return json.dumps(content, sort_keys=True).encode()

    target = {"os": "linux", "architecture": ARCHITECTURES[platform.machine()]}
    layer = blob("layer.v1.tar", layer_of(root))
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    manifest = blob("manifest.v1+json", document({
        "schemaVersion": 2,
        "mediaType": f"{KIND}.manifest.v1+json",
        "config": blob("config.v1+json", document(target | {"config": config, "rootfs": rootfs})),
        "layers": [layer],
    }))
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [manifest | {"annotations": names, "platform": target}]}

    output.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(output, "w") as archive:
        files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": document(index)}
        files |= {f"blobs/sha256/{digest}": content for digest, content in blobs.items()}
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="the folder")
    parser.add_argument("output", type=Path, help="the tar file to write")
    parser.add_argument("--name", required=True, help="the image's name and tag")
    parser.add_argument("--containerfile", type=Path, required=True, help="whose last stage says how it is run")
    options = parser.parse_args()
    write(options.output, options.name, options.root, config_of(options.containerfile.read_text()))


if __name__ == "__main__":
    main()
