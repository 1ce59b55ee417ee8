-- What the runs of a graph cost on a day (UTC, of the database's clock), for budgets that outlive a process. Written in the
-- transaction that writes the attempts.

CREATE TABLE spending (
    day TEXT NOT NULL,
    graph TEXT NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (day, graph)
) STRICT, WITHOUT ROWID;

INSERT INTO spending (day, graph, cost)
SELECT date(created, 'unixepoch'), graph, sum(cost) FROM runs WHERE cost > 0 GROUP BY 1, 2;
