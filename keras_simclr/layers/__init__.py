"""How views are made: random transforms of pictures, and the papers' augmentation."""

from keras_simclr.layers import presets as presets
from keras_simclr.layers.center_crop import CenterCrop as CenterCrop
from keras_simclr.layers.check_augmenter import check_augmenter as check_augmenter
from keras_simclr.layers.random_color_jitter import RandomColorJitter as RandomColorJitter
from keras_simclr.layers.random_gaussian_blur import RandomGaussianBlur as RandomGaussianBlur
from keras_simclr.layers.random_grayscale import RandomGrayscale as RandomGrayscale
from keras_simclr.layers.random_quarter_turn import RandomQuarterTurn as RandomQuarterTurn
from keras_simclr.layers.random_resized_crop import RandomResizedCrop as RandomResizedCrop
from keras_simclr.layers.random_solarize import RandomSolarize as RandomSolarize
from keras_simclr.layers.simclr_augmenter import SimCLRAugmenter as SimCLRAugmenter
from keras_simclr.layers.two_augmenters import TwoAugmenters as TwoAugmenters
