// One call of `ask` at a time, and a rest after each; what is wanted meanwhile is in the next.

export function oneAtATime(ask, restMilliseconds) {
  let isAsking = false;
  let isStale = false;
  return async () => {
    isStale = true;
    if (isAsking) return;
    isAsking = true;
    while (isStale) {
      isStale = false;
      await ask();
      await new Promise((later) => setTimeout(later, restMilliseconds));
    }
    isAsking = false;
  };
}
