-- Busts, corrections, corporate actions and restated orders, beside what was there: the whole of
-- `executor_write` anew, with what an entry of each new kind does in a function of its own.
-- libs/common/domain (positions, replay, booking, executions) is the definition.

-- The position after an execution: positions.apply_fill.
CREATE FUNCTION position_fill(
    p portfolio_positions, side text, quantity numeric, price numeric
) RETURNS portfolio_positions LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    after numeric := p.quantity + CASE side WHEN 'buy' THEN quantity ELSE -quantity END;
BEGIN
    IF p.quantity = 0 OR (p.quantity > 0) = (side = 'buy') THEN
        p.avg_cost := divide_half_even(
            abs(p.quantity) * p.avg_cost + quantity * price, abs(after), 8);
    ELSE
        p.realized_pnl := p.realized_pnl + half_even(
            least(quantity, abs(p.quantity)) * (price - p.avg_cost) * sign(p.quantity), 4);
        IF after = 0 THEN
            p.avg_cost := 0;
        ELSIF (after > 0) <> (p.quantity > 0) THEN
            p.avg_cost := price;
        END IF;
    END IF;
    p.quantity := after;
    RETURN p;
END $$;

-- The position after shares moved without a trade: replay.Change.
CREATE FUNCTION position_moved(p portfolio_positions, c position_changes)
RETURNS portfolio_positions LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    after numeric := p.quantity + c.quantity;
    side text := CASE WHEN c.quantity > 0 THEN 'buy' ELSE 'sell' END;
    adds boolean := p.quantity = 0 OR (p.quantity > 0) = (c.quantity > 0);
BEGIN
    IF c.kind IN ('opening', 'transfer') THEN
        RETURN position_fill(
            p, side, abs(c.quantity), CASE WHEN adds THEN c.cost ELSE p.avg_cost END);
    ELSIF c.kind = 'split' OR adds THEN
        p.avg_cost := CASE WHEN after = 0 THEN 0
            ELSE divide_half_even(abs(p.quantity) * p.avg_cost, abs(after), 8) END;
        IF c.kind = 'cash_in_lieu' THEN
            p.realized_pnl := p.realized_pnl + half_even(c.amount, 4);
        END IF;
    ELSE
        p.realized_pnl := p.realized_pnl + half_even(
            c.amount - sign(p.quantity) * least(abs(c.quantity), abs(p.quantity)) * p.avg_cost, 4);
        IF after = 0 THEN
            p.avg_cost := 0;
        END IF;
    END IF;
    p.quantity := after;
    RETURN p;
END $$;

-- The position told from its beginning: every execution that stands, in its place, and every
-- change after the entry that it follows. `without` is an execution about to be taken back, `plus`
-- and `changed` are about to be written.
CREATE FUNCTION position_replay(
    p portfolio_positions, without uuid, plus trades, changed position_changes
) RETURNS portfolio_positions LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    p.quantity := 0;
    p.avg_cost := 0;
    p.realized_pnl := 0;
    FOR r IN
        SELECT x.* FROM (
            SELECT t.entry AS place, 0::bigint AS later, t.side, t.quantity,
                   t.executed_price AS price, NULL::position_changes AS change
            FROM trades t
            WHERE t.account_id = p.account_id AND t.symbol = p.symbol
              AND t.id IS DISTINCT FROM without
              AND NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.trade_id = t.id)
            UNION ALL
            SELECT plus.entry, 0, plus.side, plus.quantity, plus.executed_price, NULL
            WHERE plus.id IS NOT NULL
            UNION ALL
            SELECT c.after_entry, c.seq, NULL, NULL, NULL, c
            FROM position_changes c
            WHERE c.account_id = p.account_id AND c.symbol = p.symbol
            UNION ALL
            SELECT changed.after_entry, 9223372036854775807, NULL, NULL, NULL, changed
            WHERE changed.id IS NOT NULL
        ) x ORDER BY x.place, x.later
    LOOP
        IF r.later = 0 THEN
            p := position_fill(p, r.side, r.quantity, r.price);
        ELSE
            p := position_moved(p, r.change);
        END IF;
    END LOOP;
    RETURN p;
END $$;

-- What an entry adds to a batch.
CREATE TYPE executor_step AS (
    answer jsonb, events order_events[], outs outbox[], lines ledger_transfers[], trade uuid,
    entry integer
);

-- What strategies hold of a symbol: executions that stand, and their parts of splits.
CREATE VIEW strategy_positions AS
    SELECT account_id, strategy_id, symbol, sum(quantity) AS quantity FROM (
        SELECT t.account_id, t.strategy_id, t.symbol,
               CASE t.side WHEN 'buy' THEN t.quantity ELSE -t.quantity END AS quantity
        FROM trades t
        WHERE NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.trade_id = t.id)
        UNION ALL
        SELECT c.account_id, s.strategy_id, c.symbol, s.quantity
        FROM position_changes c
        CROSS JOIN LATERAL jsonb_to_recordset(c.shares) AS s(strategy_id text, quantity numeric)
    ) moved GROUP BY account_id, strategy_id, symbol;

-- Take an execution back: its lines the other way round, the order, the position as if it had not
-- been, the hold. What is not known is remembered, so that it is never booked afterwards.
-- `fresh` are the lines of this batch so far.
CREATE FUNCTION executor_reverse(e jsonb, fresh ledger_transfers[]) RETURNS executor_step
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    o orders;
    p portfolio_positions;
    t trades;
    v trade_reversals;
    ev order_events;
    one ledger_transfers;
    old ledger_transfers[];
    step executor_step;
    at timestamptz := (e->>'at')::timestamptz;
    leg uuid[] := ARRAY(SELECT jsonb_array_elements_text(e->'legs'))::uuid[];
    reversed uuid[] := ARRAY(SELECT jsonb_array_elements_text(e->'reversal_legs'))::uuid[];
    posted ledger_transfers;
    before numeric;
    odd text;
BEGIN
    step.events := '{}';
    step.outs := '{}';
    step.lines := '{}';
    SELECT * INTO o FROM orders WHERE id = (e->>'order_id')::uuid FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'order % is not there', e->>'order_id';
    END IF;
    IF EXISTS (SELECT 1 FROM trade_reversals x
               WHERE x.broker = e->>'broker' AND x.execution_id = e->>'execution_id') THEN
        step.answer := jsonb_build_object('outcome', 'duplicate', 'order', executor_standing(o));
        RETURN step;
    END IF;
    SELECT * INTO t FROM trades x
    WHERE x.broker = e->>'broker' AND x.execution_id = e->>'execution_id';
    v.broker := e->>'broker';
    v.execution_id := e->>'execution_id';
    v.id := (e->>'reversal_id')::uuid;
    v.trade_id := t.id;
    v.order_id := o.id;
    v.account_id := o.account_id;
    v.symbol := o.symbol;
    v.kind := e->>'reversal';
    v.record_id := e->>'record_id';
    v.reversed_at := (e->>'reversed_at')::timestamptz;
    v.realized_pnl := 0;
    v.correlation_id := o.correlation_id;
    v.booked_at := at;
    IF t.id IS NULL THEN
        INSERT INTO trade_reversals VALUES (v.*);
        step.answer := jsonb_build_object('outcome', 'unknown', 'order', executor_standing(o));
        RETURN step;
    END IF;
    IF t.order_id <> o.id THEN
        RAISE EXCEPTION 'execution % belongs to order %, not to %', v.execution_id, t.order_id, o.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    SELECT * INTO STRICT p FROM portfolio_positions
    WHERE account_id = t.account_id AND symbol = t.symbol FOR UPDATE;
    before := p.realized_pnl;
    p := position_replay(p, t.id, NULL, NULL);
    v.realized_pnl := p.realized_pnl - before;
    INSERT INTO trade_reversals VALUES (v.*);
    UPDATE portfolio_positions SET quantity = p.quantity, avg_cost = p.avg_cost,
        realized_pnl = p.realized_pnl, updated_at = at
    WHERE account_id = p.account_id AND symbol = p.symbol;

    old := ARRAY(SELECT x FROM ledger_transfers x WHERE x.id = ANY (leg))
        || ARRAY(SELECT x::ledger_transfers FROM unnest(fresh) x WHERE x.id = ANY (leg));
    FOREACH one IN ARRAY old LOOP
        IF one.kind IN ('direct', 'post') THEN
            step.lines := step.lines || ledger_line(
                reversed[array_position(leg, one.id)], one.credit_account, one.debit_account,
                one.ledger, one.amount, 'direct', NULL, 'reversal', o.id, t.id,
                o.correlation_id, at);
        END IF;
        IF one.kind = 'post' THEN
            posted := one;
        END IF;
    END LOOP;
    IF posted.id IS NOT NULL AND o.status NOT IN
        ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
        IF o.hold_id IS NOT NULL THEN
            step.lines := step.lines || executor_release(
                o, e->'accounts', (e->>'release_id')::uuid, at);
        END IF;
        o.hold_id := reversed[5];
        o.hold_amount := coalesce(o.hold_amount, 0) + posted.amount;
        step.lines := step.lines || ledger_line(
            o.hold_id, posted.debit_account, posted.credit_account, posted.ledger,
            o.hold_amount, 'pending', NULL, 'hold', o.id, t.id, o.correlation_id, at);
    END IF;

    IF o.status IN ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
        odd := 'execution_reversed_after_end';
    END IF;
    UPDATE orders SET
        filled_quantity = orders.filled_quantity - t.quantity,
        filled_value = orders.filled_value - half_even(t.quantity * t.executed_price, 4),
        hold_id = o.hold_id, hold_amount = o.hold_amount,
        anomaly = coalesce(odd, orders.anomaly),
        event_seq = orders.event_seq + 1, updated_at = at
    WHERE id = o.id RETURNING * INTO o;
    ev := (o.id, o.event_seq, e->>'event', o.status, o.status, odd, e->'payload', at)::order_events;
    step.events := ARRAY[ev];
    step.outs := ARRAY[
        executor_envelope(
            (e->'message_ids'->>0)::uuid, 'OrderEvent', 'orders.events', e->>'ts',
            o.correlation_id, NULL, executor_order_event(o, ev)),
        executor_envelope(
            (e->'message_ids'->>1)::uuid, 'TradeReversed', 'trades.reversed', e->>'ts',
            o.correlation_id, NULL, json_build_object(
                'reversal_id', v.id, 'trade_id', t.id, 'order_id', o.id,
                'account_id', o.account_id, 'broker', t.broker,
                'execution_id', t.execution_id, 'kind', v.kind, 'symbol', t.symbol,
                'side', t.side, 'quantity', trim_scale(t.quantity)::text,
                'price', trim_scale(t.executed_price)::text,
                'commission', trim_scale(t.commission)::text,
                'fees', trim_scale(t.fees)::text,
                'executed_at', rfc3339(t.executed_at), 'reversed_at', rfc3339(v.reversed_at),
                'realized_pnl', trim_scale(v.realized_pnl)::text,
                'position_quantity', trim_scale(p.quantity)::text,
                'position_avg_cost', trim_scale(p.avg_cost)::text,
                'record_id', v.record_id,
                'strategy_id', t.strategy_id, 'signal_id', t.signal_id))];
    step.trade := t.id;
    step.entry := t.entry;
    step.answer := jsonb_build_object(
        'outcome', 'reversed', 'anomaly', odd, 'order', executor_standing(o),
        'realized_pnl', trim_scale(v.realized_pnl)::text,
        'position_quantity', trim_scale(p.quantity)::text,
        'position_avg_cost', trim_scale(p.avg_cost)::text);
    RETURN step;
END $$;

-- Give each strategy its part of the shares that a split or transfer moved: in proportion to what
-- it holds, cut to 8 places; the rest to the largest holder, all to nobody where nobody holds.
CREATE FUNCTION strategy_parts(account text, instrument text, moved numeric) RETURNS jsonb
LANGUAGE sql AS $$
    WITH held AS (
        SELECT strategy_id, quantity, sum(quantity) OVER () AS total
        FROM strategy_positions
        WHERE account_id = account AND symbol = instrument AND quantity <> 0
    ), cut AS (
        SELECT strategy_id, trunc(moved * quantity / total, 8) AS part,
               row_number() OVER (ORDER BY abs(quantity) DESC, strategy_id) AS place
        FROM held WHERE total <> 0
    ), whole AS (
        SELECT strategy_id,
               part + CASE WHEN place = 1 THEN moved - sum(part) OVER () ELSE 0 END AS part, place
        FROM cut
    )
    SELECT coalesce(
        jsonb_agg(jsonb_build_object('strategy_id', strategy_id, 'quantity', part) ORDER BY place),
        jsonb_build_array(jsonb_build_object('strategy_id', NULL, 'quantity', moved)))
    FROM whole
$$;

-- Book what the broker's account did besides trading: its money, its shares, once.
CREATE FUNCTION executor_activity(e jsonb) RETURNS executor_step
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    a account_activities;
    c position_changes;
    p portfolio_positions;
    step executor_step;
    at timestamptz := (e->>'at')::timestamptz;
    line jsonb;
    before numeric;
BEGIN
    step.events := '{}';
    step.outs := '{}';
    step.lines := '{}';
    a := jsonb_populate_record(NULL::account_activities, e->'activity');
    a.booked_at := at;
    INSERT INTO account_activities VALUES (a.*) ON CONFLICT DO NOTHING;
    -- Money that was booked before activities had a table of their own has its transfer already.
    IF NOT FOUND OR EXISTS (SELECT 1 FROM ledger_transfers x
                            WHERE x.id = (e->'lines'->0->>'id')::uuid) THEN
        step.answer := jsonb_build_object('outcome', 'duplicate');
        RETURN step;
    END IF;
    FOR line IN SELECT value FROM jsonb_array_elements(e->'lines') LOOP
        step.lines := step.lines || ledger_line(
            (line->>'id')::uuid, (line->>'debit')::uuid, (line->>'credit')::uuid,
            line->>'ledger', (line->>'amount')::numeric, 'direct', NULL, a.code, NULL, NULL,
            a.id, at);
    END LOOP;
    step.answer := jsonb_build_object('outcome', 'booked');
    IF e->'change' = 'null'::jsonb THEN
        RETURN step;
    END IF;

    c := jsonb_populate_record(NULL::position_changes, e->'change');
    c.booked_at := at;
    SELECT * INTO p FROM portfolio_positions
    WHERE account_id = c.account_id AND symbol = c.symbol FOR UPDATE;
    IF NOT FOUND THEN
        p := (c.account_id, c.symbol, 0, 0, 0, at, 0)::portfolio_positions;
    END IF;
    before := p.realized_pnl;
    -- It follows the entries that were executed before it, whenever they were booked. Of a
    -- corrected execution the first telling has the time of the trade.
    SELECT coalesce(min(t.entry) - 1, p.last_entry) INTO c.after_entry FROM trades t
    WHERE t.account_id = c.account_id AND t.symbol = c.symbol AND t.replaces IS NULL
      AND t.executed_at >= c.effective_at;
    c.shares := strategy_parts(c.account_id, c.symbol, c.quantity);
    p := position_replay(p, NULL, NULL, c);
    c.realized_pnl := p.realized_pnl - before;
    INSERT INTO position_changes (
        id, account_id, symbol, after_entry, kind, quantity, cost, amount, realized_pnl, shares,
        activity_id, effective_at, booked_at)
    VALUES (
        c.id, c.account_id, c.symbol, c.after_entry, c.kind, c.quantity, c.cost, c.amount,
        c.realized_pnl, c.shares, a.id, c.effective_at, at);
    INSERT INTO portfolio_positions VALUES (
        p.account_id, p.symbol, p.quantity, p.avg_cost, p.realized_pnl, at, p.last_entry)
    ON CONFLICT (account_id, symbol) DO UPDATE SET
        quantity = excluded.quantity, avg_cost = excluded.avg_cost,
        realized_pnl = excluded.realized_pnl, updated_at = excluded.updated_at;
    step.outs := ARRAY[executor_envelope(
        (e->>'message_id')::uuid, 'PositionChanged', 'positions.changed', e->>'ts',
        a.id, NULL, json_build_object(
            'change_id', c.id, 'account_id', c.account_id, 'symbol', c.symbol, 'kind', c.kind,
            'quantity', trim_scale(c.quantity)::text, 'amount', trim_scale(c.amount)::text,
            'effective_at', rfc3339(c.effective_at),
            'realized_pnl', trim_scale(c.realized_pnl)::text,
            'position_quantity', trim_scale(p.quantity)::text,
            'position_avg_cost', trim_scale(p.avg_cost)::text,
            'activity_id', a.activity_id,
            'shares', (SELECT json_agg(json_build_object(
                           'strategy_id', s.strategy_id,
                           'quantity', trim_scale(s.quantity)::text))
                       FROM jsonb_to_recordset(c.shares)
                            AS s(strategy_id text, quantity numeric))))];
    step.answer := step.answer || jsonb_build_object(
        'position_quantity', trim_scale(p.quantity)::text,
        'position_avg_cost', trim_scale(p.avg_cost)::text,
        'realized_pnl', trim_scale(c.realized_pnl)::text);
    RETURN step;
END $$;

-- The venue changed what an order asks for: its quantity and prices, and its hold with them.
CREATE FUNCTION executor_restate(e jsonb) RETURNS executor_step
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    o orders;
    ev order_events;
    step executor_step;
    from_status text;
    hold numeric := (e->>'hold')::numeric;
    accounts jsonb := e->'accounts';
    at timestamptz := (e->>'at')::timestamptz;
BEGIN
    step.lines := '{}';
    step.events := '{}';
    step.outs := '{}';
    SELECT * INTO o FROM orders WHERE id = (e->>'order_id')::uuid FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'order % is not there', e->>'order_id';
    END IF;
    from_status := o.status;
    IF from_status <> e->>'expect' THEN
        step.answer := jsonb_build_object('outcome', 'conflict', 'order', executor_standing(o));
        RETURN step;
    END IF;
    IF o.hold_id IS NOT NULL AND hold IS DISTINCT FROM o.hold_amount THEN
        step.lines := step.lines || executor_release(o, accounts, (e->>'release_id')::uuid, at);
        o.hold_id := NULL;
        o.hold_amount := NULL;
        IF hold > 0 THEN
            o.hold_id := (e->>'hold_id')::uuid;
            o.hold_amount := hold;
            step.lines := step.lines || ledger_line(
                o.hold_id,
                CASE o.side WHEN 'buy' THEN (accounts->>'cash')::uuid
                            ELSE (accounts->>'position')::uuid END,
                CASE o.side WHEN 'buy' THEN (accounts->>'market_cash')::uuid
                            ELSE (accounts->>'market_position')::uuid END,
                CASE o.side WHEN 'buy' THEN accounts->>'currency' ELSE o.symbol END,
                hold, 'pending', NULL, 'hold', o.id, NULL, o.correlation_id, at);
        END IF;
    END IF;
    UPDATE orders SET
        status = e->>'to', hold_id = o.hold_id, hold_amount = o.hold_amount,
        quantity = coalesce((e->>'quantity')::numeric, orders.quantity),
        limit_price = coalesce((e->>'limit_price')::numeric, orders.limit_price),
        stop_price = coalesce((e->>'stop_price')::numeric, orders.stop_price),
        trail_price = coalesce((e->>'trail_price')::numeric, orders.trail_price),
        event_seq = orders.event_seq + 1, updated_at = at
    WHERE id = o.id RETURNING * INTO o;
    ev := (o.id, o.event_seq, e->>'event', from_status, o.status, e->>'reason', e->'payload',
           at)::order_events;
    step.events := ARRAY[ev];
    step.outs := ARRAY[executor_envelope(
        (e->>'message_id')::uuid, 'OrderEvent', 'orders.events', e->>'ts',
        o.correlation_id, NULL, executor_order_event(o, ev))];
    step.answer := jsonb_build_object('outcome', 'moved', 'order', executor_standing(o));
    RETURN step;
END $$;

-- Carry out a batch, in order, in the caller's transaction. Each entry is one of
--   {"kind": "create", order, hold, events, ...}   a new row with its first events and its hold
--   {"kind": "move", order_id, expect, to, ...}    a state change decided by the state table;
--       with an `heir`, the order that takes its place: what the venue could spend passes from the
--       one hold to the other in this transaction, so that it is never held twice and never not
--   {"kind": "book", order_id, trade_id, ...}      one execution
--   {"kind": "reverse", execution_id, then, ...}   an execution taken back; `then` is the "book"
--                                                  entry of what stands in its place, or null
--   {"kind": "activity", activity, lines, change}  money or shares that moved without a trade
--   {"kind": "restate", order_id, expect, ...}     other terms of an order
-- The answer is an array in the same order: {outcome, order, ...}, and the messages stored in the
-- outbox. `lift`: an execution that overdraws a flagged account lifts the flag, for it happened.
-- Generic plans: those made for the arrays of one call are no better, and cost more than the call.
CREATE OR REPLACE FUNCTION executor_write(batch jsonb, lift boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    e jsonb;
    step jsonb;
    seq integer;
    o orders;
    heir orders;
    ev order_events;
    p portfolio_positions;
    t trades;
    msg outbox;
    accounts jsonb;
    at timestamptz;
    amount numeric;
    held_leg numeric;
    posted numeric;
    rest numeric;
    before numeric;
    complete boolean;
    odd text;
    from_status text;
    debit uuid;
    credit uuid;
    held_ledger text;
    other_ledger text;
    leg uuid[];
    lifted text[] := '{}';
    events order_events[] := '{}';
    outs outbox[] := '{}';
    lines ledger_transfers[] := '{}';
    answers jsonb[] := '{}';
    answer jsonb;
    answers_last integer;
    within boolean;
    done executor_step;
    replaced uuid;
    replaced_entry integer;
BEGIN
    FOR e, within IN
        SELECT x.entry, x.within
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS b(value, n)
        CROSS JOIN LATERAL (VALUES (b.value, false), (b.value->'then', true)) AS x(entry, within)
        WHERE jsonb_typeof(x.entry) = 'object' ORDER BY b.n, x.within
    LOOP
        IF within AND done.answer->>'outcome' = 'duplicate' THEN
            CONTINUE;
        END IF;
        IF NOT within THEN
            replaced := NULL;
        END IF;
        at := (e->>'at')::timestamptz;
        accounts := e->'accounts';

        IF e->>'kind' = 'create' THEN
            o := jsonb_populate_record(NULL::orders, e->'order');
            o.event_seq := jsonb_array_length(e->'events');
            INSERT INTO orders VALUES (o.*) ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                SELECT * INTO o FROM orders
                WHERE id = o.id
                   OR (broker = o.broker AND broker_order_id = o.broker_order_id)
                   OR client_order_id = o.client_order_id
                ORDER BY id = o.id DESC LIMIT 1;
                answers := answers || jsonb_build_object(
                    'outcome', 'exists', 'order', executor_standing(o));
                CONTINUE;
            END IF;
            IF e->'hold' <> 'null'::jsonb THEN
                lines := lines || ledger_line(
                    o.hold_id, (e->'hold'->>'debit')::uuid, (e->'hold'->>'credit')::uuid,
                    e->'hold'->>'ledger', o.hold_amount, 'pending', NULL, 'hold', o.id, NULL,
                    o.correlation_id, at);
            END IF;
            FOR step, seq IN
                SELECT value, ordinality FROM jsonb_array_elements(e->'events') WITH ORDINALITY
            LOOP
                ev := (o.id, seq, step->>'event', step->>'from', step->>'to',
                       step->>'reason', NULL, at)::order_events;
                events := events || ev;
                outs := outs || executor_envelope(
                    (step->>'message_id')::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                    o.correlation_id, (e->>'causation_id')::uuid, executor_order_event(o, ev));
            END LOOP;
            answers := answers || jsonb_build_object(
                'outcome', 'created', 'order', executor_standing(o));

        ELSIF e->>'kind' = 'move' THEN
            SELECT * INTO o FROM orders WHERE id = (e->>'order_id')::uuid FOR UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'order % is not there', e->>'order_id';
            END IF;
            IF o.status <> e->>'expect' THEN
                answers := answers || jsonb_build_object(
                    'outcome', 'conflict', 'order', executor_standing(o));
                CONTINUE;
            END IF;
            from_status := o.status;
            o.status := e->>'to';
            IF (e->>'release')::boolean AND o.hold_id IS NOT NULL THEN
                lines := lines || executor_release(o, accounts, (e->>'release_id')::uuid, at);
                o.hold_id := NULL;
                o.hold_amount := NULL;
            END IF;
            UPDATE orders SET
                status = o.status,
                hold_id = o.hold_id,
                hold_amount = o.hold_amount,
                event_seq = orders.event_seq + 1,
                updated_at = at,
                broker_order_id = coalesce(e->>'broker_order_id', orders.broker_order_id),
                client_order_id = coalesce(e->>'client_order_id', orders.client_order_id),
                attempt = coalesce((e->>'attempt')::integer, orders.attempt),
                parent_id = coalesce((e->>'parent_id')::uuid, orders.parent_id),
                external = coalesce((e->>'external')::boolean, orders.external),
                strategy_id = coalesce(e->>'strategy_id', orders.strategy_id),
                submitted_at = coalesce((e->>'submitted_at')::timestamptz, orders.submitted_at),
                anomaly = coalesce(e->>'anomaly', orders.anomaly),
                reject_reason = coalesce(e->>'reject_reason', orders.reject_reason)
            WHERE id = o.id RETURNING * INTO o;
            ev := (o.id, o.event_seq, e->>'event', from_status, o.status, e->>'reason',
                   e->'payload', at)::order_events;
            events := events || ev;
            outs := outs || executor_envelope(
                (e->>'message_id')::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                o.correlation_id, (e->>'causation_id')::uuid, executor_order_event(o, ev));
            answer := jsonb_build_object('outcome', 'moved', 'order', executor_standing(o));
            IF jsonb_typeof(e->'heir') = 'object' THEN
                step := e->'heir';
                SELECT * INTO heir FROM orders WHERE id = (step->>'id')::uuid FOR UPDATE;
                IF heir.status NOT IN
                    ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                    IF heir.hold_id IS NOT NULL THEN
                        lines := lines || executor_release(
                            heir, step->'accounts', (step->>'release_id')::uuid, at);
                    END IF;
                    heir.hold_id := NULL;
                    heir.hold_amount := NULL;
                    IF step->'hold' <> 'null'::jsonb THEN
                        heir.hold_id := (step->'hold'->>'id')::uuid;
                        heir.hold_amount := (step->'hold'->>'amount')::numeric;
                        lines := lines || ledger_line(
                            heir.hold_id, (step->'hold'->>'debit')::uuid,
                            (step->'hold'->>'credit')::uuid, step->'hold'->>'ledger',
                            heir.hold_amount, 'pending', NULL, 'hold', heir.id, NULL,
                            heir.correlation_id, at);
                    END IF;
                    UPDATE orders SET
                        hold_id = heir.hold_id, hold_amount = heir.hold_amount,
                        quantity = (step->>'quantity')::numeric,
                        event_seq = orders.event_seq + 1, updated_at = at
                    WHERE id = heir.id RETURNING * INTO heir;
                    ev := (heir.id, heir.event_seq, 'takes_over', heir.status, heir.status,
                           'in the place of ' || o.id::text, NULL, at)::order_events;
                    events := events || ev;
                    outs := outs || executor_envelope(
                        (step->>'message_id')::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                        heir.correlation_id, (e->>'message_id')::uuid,
                        executor_order_event(heir, ev));
                    answer := answer || jsonb_build_object('heir', executor_standing(heir));
                END IF;
            END IF;
            answers := answers || answer;

        ELSIF e->>'kind' = 'book' THEN
            SELECT * INTO o FROM orders WHERE id = (e->>'order_id')::uuid FOR UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'order % is not there', e->>'order_id';
            END IF;
            t.broker := e->>'broker';
            t.execution_id := e->>'execution_id';
            -- What the venue took back before it was booked here is not booked any more.
            IF EXISTS (SELECT 1 FROM trades x
                       WHERE x.broker = t.broker AND x.execution_id = t.execution_id)
               OR EXISTS (SELECT 1 FROM trade_reversals x
                          WHERE x.broker = t.broker AND x.execution_id = t.execution_id) THEN
                IF NOT within THEN
                    answers := answers || jsonb_build_object(
                        'outcome', 'duplicate', 'order', executor_standing(o));
                END IF;
                CONTINUE;
            END IF;
            t.id := (e->>'trade_id')::uuid;
            t.order_id := o.id;
            t.account_id := o.account_id;
            t.symbol := o.symbol;
            t.side := e->>'side';
            t.quantity := (e->>'quantity')::numeric;
            t.executed_price := (e->>'price')::numeric;
            t.commission := (e->>'commission')::numeric;
            t.fees := (e->>'fees')::numeric;
            t.executed_at := (e->>'executed_at')::timestamptz;
            t.venue := e->>'venue';
            t.liquidity := e->>'liquidity';
            t.strategy_id := o.strategy_id;
            t.signal_id := o.signal_id;
            t.correlation_id := o.correlation_id;
            t.booked_at := at;
            t.realized_pnl := 0;
            amount := half_even(t.quantity * t.executed_price, 4);

            -- Position: average cost. A replacement stands where the execution stood that it
            -- replaces; all else comes last.
            SELECT * INTO p FROM portfolio_positions
            WHERE account_id = o.account_id AND symbol = o.symbol FOR UPDATE;
            IF NOT FOUND THEN
                p := (o.account_id, o.symbol, 0, 0, 0, at, 0)::portfolio_positions;
            END IF;
            before := p.realized_pnl;
            t.replaces := replaced;
            IF replaced IS NULL THEN
                p.last_entry := p.last_entry + 1;
                t.entry := p.last_entry;
                p := position_fill(p, t.side, t.quantity, t.executed_price);
            ELSE
                t.entry := replaced_entry;
                p := position_replay(p, NULL, t, NULL);
            END IF;
            t.realized_pnl := p.realized_pnl - before;
            INSERT INTO portfolio_positions VALUES (
                p.account_id, p.symbol, p.quantity, p.avg_cost, p.realized_pnl, at, p.last_entry)
            ON CONFLICT (account_id, symbol) DO UPDATE SET
                quantity = excluded.quantity, avg_cost = excluded.avg_cost,
                realized_pnl = excluded.realized_pnl, updated_at = excluded.updated_at,
                last_entry = excluded.last_entry;
            INSERT INTO trades VALUES (t.*);

            -- Order: executions.take and the state table's columns partly_filled and filled.
            from_status := o.status;
            o.filled_quantity := o.filled_quantity + t.quantity;
            o.filled_value := o.filled_value + amount;
            complete := o.quantity IS NOT NULL AND o.filled_quantity >= o.quantity;
            odd := NULL;
            IF from_status IN
                ('created', 'denied', 'canceled', 'expired', 'rejected', 'replaced') THEN
                odd := 'execution_after_end';
            END IF;
            IF o.quantity IS NOT NULL AND o.filled_quantity > o.quantity THEN
                odd := 'overfill';
            END IF;
            IF complete THEN
                o.status := 'filled';
            ELSIF from_status NOT IN ('partially_filled', 'pending_cancel', 'pending_replace',
                                      'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                o.status := 'partially_filled';
            END IF;

            -- Ledger: booking.fill_group.
            leg := ARRAY(SELECT jsonb_array_elements_text(e->'legs'))::uuid[];
            IF t.side = 'buy' THEN
                debit := (accounts->>'cash')::uuid;
                credit := (accounts->>'market_cash')::uuid;
                held_ledger := accounts->>'currency';
                other_ledger := t.symbol;
                held_leg := amount;
            ELSE
                debit := (accounts->>'position')::uuid;
                credit := (accounts->>'market_position')::uuid;
                held_ledger := t.symbol;
                other_ledger := accounts->>'currency';
                held_leg := t.quantity;
            END IF;
            posted := CASE WHEN o.hold_id IS NULL THEN 0 ELSE least(held_leg, o.hold_amount) END;
            rest := NULL;
            IF posted > 0 THEN
                lines := lines || ledger_line(
                    leg[1], debit, credit, held_ledger, posted, 'post', o.hold_id,
                    CASE t.side WHEN 'buy' THEN 'cash' ELSE 'instrument' END,
                    o.id, t.id, o.correlation_id, at);
                rest := o.hold_amount - posted;
                o.hold_id := NULL;
                o.hold_amount := NULL;
            ELSIF o.hold_id IS NOT NULL AND o.status IN
                ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                lines := lines || executor_release(o, accounts, leg[5], at);
                o.hold_id := NULL;
                o.hold_amount := NULL;
            END IF;
            IF held_leg > posted THEN
                lines := lines || ledger_line(
                    leg[2], debit, credit, held_ledger, held_leg - posted, 'direct', NULL,
                    CASE t.side WHEN 'buy' THEN 'cash' ELSE 'instrument' END,
                    o.id, t.id, o.correlation_id, at);
            END IF;
            IF t.side = 'buy' THEN
                lines := lines || ledger_line(
                    leg[3], (accounts->>'market_position')::uuid, (accounts->>'position')::uuid,
                    other_ledger, t.quantity, 'direct', NULL, 'instrument',
                    o.id, t.id, o.correlation_id, at);
            ELSIF amount > 0 THEN
                lines := lines || ledger_line(
                    leg[3], (accounts->>'market_cash')::uuid, (accounts->>'cash')::uuid,
                    other_ledger, amount, 'direct', NULL, 'cash',
                    o.id, t.id, o.correlation_id, at);
            END IF;
            IF t.commission + t.fees > 0 THEN
                lines := lines || ledger_line(
                    leg[4], (accounts->>'cash')::uuid, (accounts->>'fees')::uuid,
                    accounts->>'currency', t.commission + t.fees, 'direct', NULL, 'fee',
                    o.id, t.id, o.correlation_id, at);
            END IF;
            IF rest > 0 AND o.status NOT IN
                ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                lines := lines || ledger_line(
                    leg[5], debit, credit, held_ledger, rest, 'pending', NULL, 'hold',
                    o.id, t.id, o.correlation_id, at);
                o.hold_id := leg[5];
                o.hold_amount := rest;
            END IF;

            UPDATE orders SET
                status = o.status, filled_quantity = o.filled_quantity,
                filled_value = o.filled_value, anomaly = coalesce(odd, orders.anomaly),
                hold_id = o.hold_id, hold_amount = o.hold_amount,
                -- An execution may be heard of before the answer that names the order's id there.
                broker_order_id = coalesce(orders.broker_order_id, (
                    SELECT e->>'broker_order_id' WHERE NOT EXISTS (
                        SELECT 1 FROM orders x WHERE x.broker = orders.broker
                        AND x.broker_order_id = e->>'broker_order_id'))),
                submitted_at = coalesce(orders.submitted_at, at),
                event_seq = orders.event_seq + 1, updated_at = at
            WHERE id = o.id RETURNING * INTO o;
            ev := (o.id, o.event_seq,
                   CASE WHEN complete THEN 'filled' ELSE 'partly_filled' END,
                   from_status, o.status, odd, e->'payload', at)::order_events;
            events := events || ev;
            outs := outs || executor_envelope(
                (e->'message_ids'->>0)::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                o.correlation_id, (e->>'causation_id')::uuid, executor_order_event(o, ev));
            outs := outs || executor_envelope(
                (e->'message_ids'->>1)::uuid, 'Trade', 'trades.executed', e->>'ts',
                o.correlation_id, (e->>'causation_id')::uuid, json_build_object(
                    'trade_id', t.id, 'order_id', o.id, 'account_id', o.account_id,
                    'broker', t.broker, 'execution_id', t.execution_id, 'symbol', t.symbol,
                    'side', t.side, 'quantity', trim_scale(t.quantity)::text,
                    'price', trim_scale(t.executed_price)::text,
                    'commission', trim_scale(t.commission)::text,
                    'fees', trim_scale(t.fees)::text, 'executed_at', rfc3339(t.executed_at),
                    'realized_pnl', trim_scale(t.realized_pnl)::text,
                    'position_quantity', trim_scale(p.quantity)::text,
                    'position_avg_cost', trim_scale(p.avg_cost)::text,
                    'strategy_id', t.strategy_id, 'signal_id', t.signal_id));
            answer := jsonb_build_object(
                'outcome', 'booked', 'anomaly', odd, 'order', executor_standing(o),
                'realized_pnl', trim_scale(t.realized_pnl)::text,
                'position_quantity', trim_scale(p.quantity)::text,
                'position_avg_cost', trim_scale(p.avg_cost)::text);
            IF within THEN
                -- The order as it stands after both.
                answers_last := cardinality(answers);
                answers[answers_last] := answers[answers_last]
                    || jsonb_build_object('then', answer, 'order', answer->'order');
            ELSE
                answers := answers || answer;
            END IF;

        ELSIF e->>'kind' IN ('reverse', 'activity', 'restate') THEN
            done := CASE e->>'kind' WHEN 'reverse' THEN executor_reverse(e, lines)
                                    WHEN 'activity' THEN executor_activity(e)
                                    ELSE executor_restate(e) END;
            answers := answers || done.answer;
            events := events || done.events;
            outs := outs || done.outs;
            lines := lines || done.lines;
            replaced := done.trade;
            replaced_entry := done.entry;
        ELSE
            RAISE EXCEPTION 'unknown entry kind %', e->>'kind';
        END IF;
    END LOOP;

    INSERT INTO order_events SELECT x.* FROM unnest(events) x;
    IF lift THEN
        BEGIN
            PERFORM executor_add_lines(lines);
        EXCEPTION WHEN check_violation THEN
            WITH fallen AS (
                UPDATE ledger_accounts a SET no_overdraft = false
                FROM (SELECT DISTINCT x.debit_account AS id FROM unnest(lines) x) d
                WHERE a.id = d.id AND a.no_overdraft RETURNING a.owner, a.ledger)
            SELECT array_agg(owner || ' ' || ledger) INTO lifted FROM fallen;
            PERFORM executor_add_lines(lines);
        END;
    ELSIF cardinality(lines) > 0 THEN
        PERFORM executor_add_lines(lines);
    END IF;
    INSERT INTO outbox (id, source, channel, stream, message)
    SELECT x.id, x.source, x.channel, x.stream, x.message FROM unnest(outs) x;

    RETURN jsonb_build_object(
        'answers', to_jsonb(answers),
        'lifted', to_jsonb(lifted),
        'messages', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                         'id', x.id, 'channel', x.channel, 'stream', x.stream,
                         'data', convert_from(x.message, 'UTF8'))), '[]'::jsonb)
                     FROM unnest(outs) x));
END $$;
