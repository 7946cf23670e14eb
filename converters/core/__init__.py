"""What every other room stands on: the stage contract, records, errors, processes. Imports nothing of ours but compat."""
