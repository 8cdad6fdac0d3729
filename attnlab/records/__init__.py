"""Records: the files that a run leaves; how they are written, found and checked."""
