"""The model that Triton's Python backend loads: one engine an instance, requests one by one."""

import os

import triton_python_backend_utils as pb_utils
from runner import Engine


class TritonPythonModel:
    def initialize(self, args):
        self.engine = Engine(os.path.dirname(os.path.abspath(__file__)))

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        """What doesn't fit is the request's own fault: it gets an error, and the others their answers."""
        try:
            feed = {each.name(): each.as_numpy() for each in request.inputs()}
            outputs = self.engine(feed)
        except (ValueError, RuntimeError) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])
