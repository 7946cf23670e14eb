"""Training before the export: with int8's rounding, or with half of the weights pruned, so that the engine loses less.

The training itself is the user's; what is put into the model before and taken out after it is here.
"""
