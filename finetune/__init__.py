"""Makes the model: from vetted answers to a specialised, quantised, checked model file.

knowledge → dataset → distill → train → export → evaluate → promote

One file each, joined in ``stages.py``

Stages meet only through files in a run folder. ``finetune`` may import ``chatbot``, never the reverse.
"""
