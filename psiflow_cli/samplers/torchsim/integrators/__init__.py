"""How a whole batch moves by a step, in every ensemble, as operations on tensors; nothing of limits or records."""
