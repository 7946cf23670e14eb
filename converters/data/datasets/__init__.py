"""Data to calibrate, to evaluate and to compare on: a folder, an .npz, a function of the user's, or the shipped pictures.

A source (`shipped`, `picture_folder`, `array_files`, `loader`) reads it; a `Dataset` holds each example against the model.
"""

from enginesmith.converters.data.datasets.base import Example as Example
from enginesmith.converters.data.datasets.base import Examples as Examples
from enginesmith.converters.data.datasets.base import Role as Role
from enginesmith.converters.data.datasets.dataset import Dataset as Dataset
from enginesmith.converters.data.datasets.dataset import open_dataset as open_dataset
from enginesmith.converters.data.datasets.location import data_code as data_code
from enginesmith.converters.data.datasets.location import data_sources as data_sources
