"""One run: its directory, and its training from the first state to the last.

In the order in which to read:

- begin: a new run, or one that is taken up again; what may change on resume
- initial: networks of a snapshot or another run, in place of fresh weights
- fit: the loop around `Trainer.step`: ticks, pictures, snapshots, states, interruption
- directory: the files of a run, by purpose; which states there are, and pruning
- experiment_file: experiment.json, what is trained and on which data
- stats_file: stats.jsonl, one line per tick
- sessions: sessions.jsonl, which machines trained the run, and when
- records: what states and snapshots say of themselves in names and headers; which are healthy
- events: the lines of stats.jsonl for TensorBoard
- metrics: metrics that a run measures of itself, and which of its snapshots is the best
- history: all snapshots of a run measured afterwards
- plan: schedule, parameters and cost of a run, without running it
- scaling: what a step costs on many processes
- pictures: images of the generators at fixed latents
- profile: a Chrome trace of some steps
- stopping: signals that ask a training to save and end
- lock: one process trains a run
"""
