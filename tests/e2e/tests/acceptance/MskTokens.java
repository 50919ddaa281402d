// Takes tokens as brokers of Amazon MSK with IAM do: a presigned request, whose signature is computed anew from the
// secret key. The JVM's properties `msk.access`, `msk.secret`, `msk.session` and `msk.region` have what counts.
// Compiled by the test that uses it.
import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

public class MskTokens implements AuthenticateCallbackHandler {
    private static final Duration LIFE_MAX = Duration.ofSeconds(900);
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'");

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {}

    @Override
    public void close() {}

    @Override
    public void handle(Callback[] callbacks) {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback asked) {
                try {
                    asked.token(verified(asked.tokenValue()));
                } catch (Exception refusal) {
                    System.err.println("MskTokens refuses: " + refusal);
                    asked.error("invalid_token", null, null);
                }
            } else if (callback instanceof OAuthBearerExtensionsValidatorCallback asked) {
                asked.inputExtensions().map().keySet().forEach(asked::valid);
            }
        }
    }

    private static OAuthBearerToken verified(String token) throws Exception {
        String text = new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8);
        demand(!token.contains("="), "it is padded");
        URI url = new URI(text);
        String region = System.getProperty("msk.region");
        String host = "kafka." + region + ".amazonaws.com";
        demand("https".equals(url.getScheme()) && host.equals(url.getHost()) && "/".equals(url.getPath()), "its address");
        Map<String, String> query = new TreeMap<>();
        for (String pair : url.getRawQuery().split("&")) {
            String[] part = pair.split("=", 2);
            String value = URLDecoder.decode(part[1].replace("+", "%2B"), StandardCharsets.UTF_8);
            demand(query.put(part[0], value) == null, "it has a parameter twice");
        }
        String signature = query.remove("X-Amz-Signature");
        // MSK takes it off as well: it tells who made the token.
        demand(query.remove("User-Agent") != null, "it has no User-Agent");
        demand("kafka-cluster:Connect".equals(query.get("Action")), "its action");
        demand("AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")), "its algorithm");
        demand("host".equals(query.get("X-Amz-SignedHeaders")), "its signed headers");
        demand(System.getProperty("msk.session").equals(query.get("X-Amz-Security-Token")), "its session token");
        String time = query.get("X-Amz-Date");
        String day = time.substring(0, 8);
        String scope = day + "/" + region + "/kafka-cluster/aws4_request";
        String access = System.getProperty("msk.access");
        demand((access + "/" + scope).equals(query.get("X-Amz-Credential")), "its credential");
        Instant from = LocalDateTime.parse(time, TIME).toInstant(ZoneOffset.UTC);
        Duration life = Duration.ofSeconds(Long.parseLong(query.get("X-Amz-Expires")));
        Instant now = Instant.now();
        demand(life.compareTo(LIFE_MAX) <= 0, "it lives too long");
        demand(!now.isBefore(from.minusSeconds(5)) && now.isBefore(from.plus(life)), "its time");

        StringBuilder canonical = new StringBuilder();
        for (Map.Entry<String, String> pair : query.entrySet()) {
            canonical.append(canonical.isEmpty() ? "" : "&");
            canonical.append(encoded(pair.getKey())).append("=").append(encoded(pair.getValue()));
        }
        String request = "GET\n/\n" + canonical + "\nhost:" + host + "\n\nhost\n" + hash("");
        String signed = "AWS4-HMAC-SHA256\n" + time + "\n" + scope + "\n" + hash(request);
        byte[] key = ("AWS4" + System.getProperty("msk.secret")).getBytes(StandardCharsets.UTF_8);
        for (String part : scope.split("/")) {
            key = hmac(key, part);
        }
        demand(HexFormat.of().formatHex(hmac(key, signed)).equals(signature), "its signature");
        return new Verified(token, access, from.toEpochMilli(), from.plus(life).toEpochMilli());
    }

    private static void demand(boolean holds, String what) {
        if (!holds) {
            throw new IllegalArgumentException(what);
        }
    }

    /** As RFC 3986 has it: Java's encoder is for forms. */
    private static String encoded(String text) {
        String form = URLEncoder.encode(text, StandardCharsets.UTF_8);
        return form.replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    private static String hash(String text) throws Exception {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }

    private static byte[] hmac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private record Verified(String value, String principalName, Long startTimeMs, long lifetimeMs)
            implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }
    }
}
