import utils as utils  # first, because it checks that all packages are installed
