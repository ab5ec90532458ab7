"""`/lecture`: the lecture as a guided tour with live trainings. `page` answers, `catalogue` holds its languages."""
