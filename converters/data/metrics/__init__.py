"""How good a graph's answers are: against the data's labels, or against those of the float32 graph. One module each."""

from enginesmith.converters.data.metrics.base import Metric as Metric
from enginesmith.converters.data.metrics.choice import load_metric as load_metric
from enginesmith.converters.data.metrics.choice import metric_sources as metric_sources
