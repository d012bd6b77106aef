"""The web page of `styleloom app`.

In the order in which to read:

- models: the generators that are shown, one engine each
- shelf: what sessions keep in memory: latents, uploaded images, films
- work: long work in a bounded queue: projections, verdicts, films
- tasks: what that work is
- controls: what the sliders and fields of the page say, as a recipe and back
- guard: who may ask, how much they may send, which addresses exist
- routes: addresses of pictures, uploads, work and runs
- run_view: a training in progress: pictures over time, curves, health
- blocks: the page itself, made of Gradio's parts; `page/` has its script and style
- server: all of it on a port
"""
