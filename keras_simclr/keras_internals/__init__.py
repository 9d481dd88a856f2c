"""All private names of Keras and the backends that this package relies on.

If an upgrade changes one of them, `tests/test_keras_internals.py` fails and states what was
expected.
"""

from keras_simclr.keras_internals.fitting import CALLBACK_STATE as CALLBACK_STATE
from keras_simclr.keras_internals.fitting import EpochStart as EpochStart
from keras_simclr.keras_internals.fitting import additional_losses as additional_losses
from keras_simclr.keras_internals.fitting import calling as calling
from keras_simclr.keras_internals.fitting import end_of_data_expected as end_of_data_expected
from keras_simclr.keras_internals.fitting import epochs_starting_at as epochs_starting_at
from keras_simclr.keras_internals.fitting import flatten_metrics as flatten_metrics
from keras_simclr.keras_internals.fitting import images_seen as images_seen
from keras_simclr.keras_internals.fitting import is_multi_worker as is_multi_worker
from keras_simclr.keras_internals.fitting import own_loader_seeds as own_loader_seeds
from keras_simclr.keras_internals.fitting import set_initial_epoch as set_initial_epoch
from keras_simclr.keras_internals.fitting import when_fit_ends as when_fit_ends
from keras_simclr.keras_internals.layers import SEED_STATE as SEED_STATE
from keras_simclr.keras_internals.layers import batch_norm_moments as batch_norm_moments
from keras_simclr.keras_internals.layers import (
    convolutions_without_copies as convolutions_without_copies,
)
from keras_simclr.keras_internals.layers import flatten_layers as flatten_layers
from keras_simclr.keras_internals.layers import intermediates_freed as intermediates_freed
from keras_simclr.keras_internals.layers import is_functional as is_functional
from keras_simclr.keras_internals.layers import layer_calls as layer_calls
from keras_simclr.keras_internals.layers import object_graph as object_graph
from keras_simclr.keras_internals.layers import replaced as replaced
from keras_simclr.keras_internals.layers import safe_mode as safe_mode
from keras_simclr.keras_internals.layers import structures_freed as structures_freed
from keras_simclr.keras_internals.layers import without_symbolic_build as without_symbolic_build
from keras_simclr.keras_internals.layers import zero_initial_weights as zero_initial_weights
from keras_simclr.keras_internals.optimizing import has_schedule as has_schedule
from keras_simclr.keras_internals.optimizing import inner_optimizer as inner_optimizer
from keras_simclr.keras_internals.optimizing import name_publicly as name_publicly
from keras_simclr.keras_internals.optimizing import record_gradient as record_gradient
from keras_simclr.keras_internals.optimizing import (
    save_for_every_backend as save_for_every_backend,
)
from keras_simclr.keras_internals.optimizing import step_counter as step_counter
from keras_simclr.keras_internals.optimizing import uses_weight_decay as uses_weight_decay
from keras_simclr.keras_internals.optimizing import variable_index as variable_index
from keras_simclr.keras_internals.optimizing import without_all_reduce as without_all_reduce
from keras_simclr.keras_internals.waiting import rate_given as rate_given
from keras_simclr.keras_internals.waiting import scalars_made_on_device as scalars_made_on_device
from keras_simclr.keras_internals.waiting import scheduled_on_host as scheduled_on_host
from keras_simclr.keras_internals.waiting import version_of as version_of
