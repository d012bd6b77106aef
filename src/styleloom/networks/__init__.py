"""The networks: one file per paper, shells and topology protocol in `assembly`, the table in `build`."""
