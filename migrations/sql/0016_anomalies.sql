-- An order's anomaly and its discrepancy are one fact: whoever writes the one writes the other, with
-- the alert, in the same transaction. services/trade_executor/lifecycle.py says the same words when
-- it blocks the symbol in memory; it finds the discrepancy there already.
CREATE FUNCTION order_anomaly_is_told() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moment text := rfc3339(NEW.updated_at);
    message_id uuid := gen_random_uuid();
    told outbox;
BEGIN
    INSERT INTO discrepancies (id, account_id, symbol, kind, ours, theirs, detail)
    VALUES (gen_random_uuid(), NEW.account_id, NEW.symbol, 'anomaly:' || NEW.anomaly,
            NEW.status, NEW.anomaly,
            format('Order %s (%s %s).', NEW.id, NEW.side, NEW.symbol))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;  -- it stands open, and somebody was told
    END IF;
    told := executor_envelope(
        message_id, 'Notification', 'notifications', moment, NEW.correlation_id, NULL,
        json_build_object(
            'level', 'CRITICAL',
            'title', format('Books differ from the broker: anomaly:%s %s', NEW.anomaly, NEW.symbol),
            'message', format(
                'ours %s, theirs %s. Order %s (%s %s). No new risk there until it is explained.',
                NEW.status, NEW.anomaly, NEW.id, NEW.side, NEW.symbol),
            'fingerprint', format(
                'discrepancy:%s:%s:anomaly:%s', NEW.account_id, NEW.symbol, NEW.anomaly),
            'ts', moment,
            'context', json_build_object(
                'ours', NEW.status, 'theirs', NEW.anomaly, 'symbol', NEW.symbol,
                'order_id', NEW.id)));
    INSERT INTO outbox (id, source, channel, stream, message)
    VALUES (told.id, told.source, told.channel || '.execution', told.stream, told.message);
    RETURN NULL;
END $$;

CREATE TRIGGER order_begins_odd AFTER INSERT ON orders
    FOR EACH ROW WHEN (NEW.anomaly IS NOT NULL) EXECUTE FUNCTION order_anomaly_is_told();

-- Also where the same happens again to an order that has ended: another execution.
CREATE TRIGGER order_turns_odd AFTER UPDATE OF anomaly, filled_quantity ON orders
    FOR EACH ROW WHEN (
        NEW.anomaly IS NOT NULL AND (
            NEW.anomaly IS DISTINCT FROM OLD.anomaly
            OR (NEW.filled_quantity <> OLD.filled_quantity AND OLD.status IN
                ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced'))))
    EXECUTE FUNCTION order_anomaly_is_told();
