"""The flags of the programs' short runs, with all files in one folder."""


def in_folder(short, folder, *more):
    """The flags `short` without a film, with runs and data in `folder`, and then `more`."""
    return [
        *short, "--film=0", f"--workdir={folder / 'runs'}", f"--cache_dir={folder / 'data'}", *more,
    ]  # fmt: skip
