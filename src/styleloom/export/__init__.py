"""Generators in the formats of other programs.

The files, in the order in which to read them:

- targets: which formats there are, and what each can be asked
- folders: a folder of files that is written whole
- graphs: the functions of a generator that a graph can hold
- checks: whether another program computes what the sampler does
- onnx_file: ONNX
- pt2: what `torch.export.load` reads
- browser: a page that draws in a browser; its files are in `page/`
- hub_folder: a snapshot with its description and card, for a hub
- inverse: our weights under another code's names
- rosinality: checkpoints of the most used port to PyTorch
- pickle_stream: a pickle of plain values and arrays
- tf_pickle: the pickle of the authors' TensorFlow code
"""
