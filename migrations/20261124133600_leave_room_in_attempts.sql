-- Room on the page for the next version of a row, which most attempts write without touching an
-- index since `stale_at` is rounded up to ten minutes. Counts for pages that are written from now on.

ALTER TABLE attempts SET (fillfactor = 70);
