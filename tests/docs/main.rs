//! The guide to training (`docs/training.md`) says what the program does: settings, flags, commands, pictures.

mod schedules;
