//! A frame at the door.
