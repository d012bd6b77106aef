"""Where images come from: one file for each kind of source.

In the order in which to read:

- source: `Source`, what each kind provides
- opening: `open_source`, the table of kinds
- place: what stands at a path; ranges of files
- folder: image files in a folder
- zip_file: image files in a zip
- tfrecords: TFRecords of the authors' codes
- checksum: CRC-32C, which they carry
- protobuf: the messages in them
- lsun: LMDB databases
- tar: tar files and shards of WebDataset
- tables: Parquet, folders of `datasets`
- cifar: CIFAR-10 and CIFAR-100
- idx: MNIST and its kin
- manifest: a list of paths, crop boxes and labels
- video: frames of videos
- stored: bytes at a place in a file
"""

from styleloom.data.sources.opening import EMBEDDED_SETS, open_source
from styleloom.data.sources.source import MAX_INDEX_BYTES, Source, SourceOptions, opened, why_bad
from styleloom.data.sources.zip_file import ZipSource

__all__ = [
    "EMBEDDED_SETS",
    "MAX_INDEX_BYTES",
    "Source",
    "SourceOptions",
    "ZipSource",
    "open_source",
    "opened",
    "why_bad",
]
