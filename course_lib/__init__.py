"""The helper library of the course: from LeNet-5 to AlexNet, every claim an experiment.

Importing it imports no framework; ``course_lib.setup(chapter=1)`` opens every chapter.
"""

from course_lib.checks import expect
from course_lib.claims import claim, claims_table
from course_lib.settings import setup

__all__ = ["claim", "claims_table", "expect", "setup"]
