-- The balances of the ledger follow from its transfers, whoever inserts them: one statement-level
-- trigger adds up what came in and moves both sides of every transfer, so the sum over a ledger is
-- zero by construction. CHECK constraints on ledger_accounts then refuse an overdraft.
CREATE FUNCTION ledger_apply() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad uuid;
BEGIN
    SELECT f.id INTO bad
    FROM fresh f
    JOIN ledger_accounts d ON d.id = f.debit_account
    JOIN ledger_accounts c ON c.id = f.credit_account
    LEFT JOIN ledger_transfers p ON p.id = f.pending_id
    WHERE d.ledger <> f.ledger
       OR c.ledger <> f.ledger
       OR (f.pending_id IS NOT NULL AND (
              p.kind IS DISTINCT FROM 'pending'
           OR p.amount < f.amount
           OR p.debit_account <> f.debit_account
           OR p.credit_account <> f.credit_account))
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transfer % leaves its ledger or does not fit its hold', bad
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE ledger_accounts a
    SET debits_pending = a.debits_pending + s.debits_pending,
        debits_posted = a.debits_posted + s.debits_posted,
        credits_pending = a.credits_pending + s.credits_pending,
        credits_posted = a.credits_posted + s.credits_posted
    FROM (
        SELECT account,
               sum(pending) FILTER (WHERE debit) AS debits_pending,
               sum(posted) FILTER (WHERE debit) AS debits_posted,
               sum(pending) FILTER (WHERE NOT debit) AS credits_pending,
               sum(posted) FILTER (WHERE NOT debit) AS credits_posted
        FROM (
            SELECT side.account, side.debit,
                   CASE WHEN f.kind = 'pending' THEN f.amount
                        WHEN f.pending_id IS NOT NULL THEN -p.amount ELSE 0 END AS pending,
                   CASE WHEN f.kind IN ('direct', 'post') THEN f.amount ELSE 0 END AS posted
            FROM fresh f
            LEFT JOIN ledger_transfers p ON p.id = f.pending_id
            CROSS JOIN LATERAL (VALUES (f.debit_account, true), (f.credit_account, false))
                AS side(account, debit)
        ) lines
        GROUP BY account
    ) sums
    CROSS JOIN LATERAL (SELECT
        coalesce(sums.debits_pending, 0) AS debits_pending,
        coalesce(sums.debits_posted, 0) AS debits_posted,
        coalesce(sums.credits_pending, 0) AS credits_pending,
        coalesce(sums.credits_posted, 0) AS credits_posted) s
    WHERE a.id = sums.account;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_apply AFTER INSERT ON ledger_transfers
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION ledger_apply();
