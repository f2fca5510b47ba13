import sys

from outsourcing_classifier.cli import main

sys.exit(main())
