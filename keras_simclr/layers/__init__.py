"""How views are created: random transforms of images, and the papers' augmentation."""

from keras_simclr.layers import presets as presets
from keras_simclr.layers.center_crop_and_resize import CenterCropAndResize as CenterCropAndResize
from keras_simclr.layers.check_augmenter import check_augmenter as check_augmenter
from keras_simclr.layers.random_color_distortion import (
    RandomColorDistortion as RandomColorDistortion,
)
from keras_simclr.layers.random_gaussian_blur import RandomGaussianBlur as RandomGaussianBlur
from keras_simclr.layers.random_grayscale import RandomGrayscale as RandomGrayscale
from keras_simclr.layers.random_resized_crop import RandomResizedCrop as RandomResizedCrop
from keras_simclr.layers.random_rotate90 import RandomRotate90 as RandomRotate90
from keras_simclr.layers.random_solarize import RandomSolarize as RandomSolarize
from keras_simclr.layers.simclr_augmenter import SimCLRAugmenter as SimCLRAugmenter
from keras_simclr.layers.two_augmenters import TwoAugmenters as TwoAugmenters
