"""Shuffle files as they lie in an executor's work directory: shuffle/JOB/STAGE/PART/data*.arrow, some with an index."""

import os
import pathlib

END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
END_OF_FILE = b"ARROW1"


def files_of(work_dir):
    """The files of the running job: {(stage, part): [paths]}. They may go away meanwhile."""
    root, found = work_dir / "shuffle", {}
    for path, _, names in os.walk(root):
        places = os.path.relpath(path, root).split(os.sep)
        if names and len(places) == 3:
            key = (int(places[1]), int(places[2]))
            found[key] = [pathlib.Path(path, name) for name in sorted(names)]
    return found


def data_file(files):
    """The one of a part that holds the rows."""
    return next((file for file in files if file.suffix == ".arrow"), None)


def is_complete(files):
    """Whether a part was written to its end: its index is there, or the end mark of Arrow is."""
    data = data_file(files)
    if data is None or len(files) > 1:
        return data is not None
    try:
        with data.open("rb") as file:
            file.seek(-len(END_OF_STREAM), os.SEEK_END)
            tail = file.read()
    except OSError:
        return False
    return tail == END_OF_STREAM or tail.endswith(END_OF_FILE)
