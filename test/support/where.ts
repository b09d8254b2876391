/**
 * For `test.each`: once where it holds, else never. What a subject cannot show is no test of it: one that is skipped would prove
 * nothing.
 */
export const where = (holds: boolean): [][] => (holds ? [[]] : []);
