"""Many builds as one: a matrix of models, backends, targets, precisions and shapes, whose stages are shared and scheduled."""
